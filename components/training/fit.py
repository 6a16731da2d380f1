"""The training loop: algorithms 1 and 2 of the paper, one backward pass and two optimisers.

It uses neither Ray nor files. After every epoch it calls `report(record, state)`, with what was measured and all that
is needed to resume; within an epoch, `report(None, state)` where its caller wants to save one. A resumed training ends
bit for bit as an uninterrupted one (CPU, same number of threads)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any, cast

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel

from components.config.study import Training
from components.crowd import Counter
from components.errors import UserError
from components.evaluation.metrics.mae import mean_absolute_error
from components.evaluation.metrics.rmse import root_mean_squared_error
from components.evaluation.score import score
from components.losses.shared.squared_error import squared_error
from components.training.alarms import alarms, health
from components.training.epoch import Communicator, NotFiniteError, Pauses, Record, StoppedError, Totals, train_epoch
from components.training.joint import JointModel
from components.training.optimisers import Optimisers, build_average, build_optimisers
from components.training.samples import WARM_UP, Samples

EXAMPLES = 8  # validation images whose learned maps are checked by the alarms

State = dict[str, Any]  # tensors, numbers, strings, and dicts and lists of them: torch.load(weights_only=True) reads it
Report = Callable[[Record | None, State], None]


class DivergedError(UserError):
    """Predictions, or losses and gradients of many steps in a row, are no longer finite. It is raised on every worker
    at the same time. `batch` is this worker's share of the last batch, if there was one: images (B, 3, H, W) uint8, and
    the numbers of the images in the manifest."""

    def __init__(self, text: str, batch: dict[str, Any] | None = None) -> None:
        super().__init__(text)
        self.batch = batch


@dataclass(frozen=True)
class _Trained:
    """What is trained. `average`: the moving average of the counter's weights, if there is one."""

    model: JointModel
    optimisers: Optimisers
    average: AveragedModel | None

    @cached_property
    def validated(self) -> JointModel:
        """The model that is validated, and may be the best: with the averaged counter, if there is one."""
        if self.average is None:
            return self.model
        counter = cast(Counter, self.average.module)
        return JointModel(counter, self.model.density_map, self.model.loss, self.model.scale)

    def copies(self) -> State:
        """A copy of all that is trained, as it is now."""
        now = {
            "model": self.model.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            **({"average": self.average.state_dict()} if self.average else {}),
        }
        return deepcopy(now)

    def restore(self, state: State) -> None:
        """Go on from copies."""
        self.model.load_state_dict(state["model"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        if self.average:
            self.average.load_state_dict(state["average"])

    def next_state(self, state: State, record: Record) -> State:
        """The state after an epoch."""
        best = state["best"]
        if "val_mae" in record and (best is None or record["val_mae"] < best["val_mae"]):
            weights = deepcopy(self.validated.state_dict())
            best = {"epoch": record["epoch"], "val_mae": record["val_mae"], "model": weights}
        return {
            "epoch": int(record["epoch"]),
            "history": [*state["history"], record],
            "best": best,
            "stride": self.model.stride,
            "scale": self.model.scale,
            "halved": state.get("halved", False),
            **self.copies(),
        }

    def roll_back(self, state: State, error: NotFiniteError) -> State:
        """Go back to the state after the last epoch, at half the learning rates. Raises DivergedError the second
        time."""
        if state.get("halved"):
            shown = None
            if error.batch is not None:
                shown = {"images": error.batch.images.cpu(), "numbers": [crop.number for crop in error.batch.crops]}
            raise DivergedError(
                f"training diverged in epoch {state['epoch'] + 1}: losses or gradients of {error.skipped} steps were "
                "not finite, at half the learning rates too; lower counter.optimiser.lr, or look at the images",
                shown,
            )
        self.restore(state)
        self.model.clear_map_cache()
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["initial_lr"] /= 2
        whole = {name: value for name, value in state.items() if name != "part"}
        return whole | self.copies() | {"halved": True}


def fit(
    model: JointModel,
    training: Samples,
    validation: Samples,
    options: Training,
    *,
    report: Report,
    state: State | None = None,
    communicator: Communicator | None = None,
    on_progress: Callable[[float], None] = lambda epochs: None,
    stop_requested: Callable[[], bool] = lambda: False,
    part_is_due: Callable[[], bool] = lambda: False,
) -> State:
    """Train, and return the last state; its "best" is the model with the smallest MAE on the validation split.

    With no epochs that is the model as it was given, measured on the validation split as epoch 0.

    `state`: one that an earlier call reported or returned; training continues from it. `on_progress` is called with the
    epochs done so far, at each step and before each validation image. Where `part_is_due` is true on worker 0 after a
    step, all report the state of the last epoch with a "part": how far the next one has come. Where `stop_requested`
    is true on any worker, they report that and stop: it is what is returned.

    After more than `max_skipped` steps in a row whose losses or gradients are not finite, training goes back to the
    state from which this epoch was begun, once, at half the learning rates. Raises DivergedError where that happens a
    second time, or where predictions are no longer finite."""
    communicator = communicator or Communicator()
    trained = _Trained(model, build_optimisers(model), build_average(model.counter, options.average))
    validate = partial(_validate, trained.validated, validation, communicator, on_progress)
    if state is None:
        _warm_up(model, training, options.batch_size, on_progress)
        communicator.broadcast_([*model.parameters()])
        state = {"epoch": 0, "history": [], "best": None, **trained.copies()}
    else:
        trained.restore(state.get("part", state))

    def save_part(totals: Totals) -> None:
        nonlocal state
        assert state is not None
        state = state | {"part": {"totals": asdict(totals), **trained.copies()}}
        report(None, state)

    if options.epochs == 0 and not state["history"]:
        started = time.perf_counter()
        record = {"epoch": 0, **validate(0)}
        record["seconds"] = time.perf_counter() - started
        state = trained.next_state(state, record)
        report(record, state)
    while (epoch := state["epoch"] + 1) <= options.epochs:
        if options.stop_on_alarm and state["history"] and alarms(state["history"][-1]):
            break
        totals = Totals(**state["part"]["totals"]) if "part" in state else None
        try:
            record = train_epoch(
                model,
                trained.optimisers,
                training,
                options,
                epoch,
                communicator,
                on_progress,
                trained.average,
                totals=totals,
                pauses=Pauses(stop_requested, part_is_due, save_part),
            )
        except NotFiniteError as error:
            state = trained.roll_back(state, error)
            continue
        except StoppedError:
            return state
        if epoch % options.validate_every == 0 or epoch == options.epochs:
            record |= validate(epoch)
        record |= {"learning_rate_factor": 0.5} if state.get("halved") else {}
        state = trained.next_state(state, record)
        report(record, state)
    return state


def _validate(
    model: JointModel,
    validation: Samples,
    communicator: Communicator,
    on_progress: Callable[[float], None],
    epoch: int = 0,
) -> Record:
    """Errors on whole images, each counted once whatever the number of workers."""
    model.eval()
    share = range(communicator.rank, len(validation), communicator.size)

    def predict(image: np.ndarray) -> np.ndarray:
        on_progress(epoch)
        return model.predict_image(image)

    scores = communicator.all_gather(score(predict, validation.scored(share), model.stride))
    scores.sort(key=lambda each: each.id)
    truths, predictions = (np.array([getattr(each, name) for each in scores]) for name in ("truth", "prediction"))
    record = {
        "val_mae": float(mean_absolute_error(truths, predictions)),
        "val_rmse": float(root_mean_squared_error(truths, predictions)),
    }
    if not math.isfinite(record["val_mae"]):
        raise DivergedError("training diverged: predictions are no longer finite; lower counter.optimiser.lr")
    measured = [_map_health(model, validation)] if model.learns_maps and communicator.rank == 0 else []
    for map_health in communicator.all_gather(measured):  # that of worker 0, if there is one
        record |= map_health
    return record


def _map_health(model: JointModel, validation: Samples) -> Record:
    examples = [validation.full_crop(index).to(model.device) for index in range(min(EXAMPLES, len(validation)))]
    with torch.no_grad():
        crops = model.with_features(examples)
        maps = [(model.target([crop])[0, 0] / model.scale).cpu().numpy() for crop in crops]
        measured = model.density_map.measure(crops)
    return health(maps, [crop.annotation.cpu().numpy() for crop in crops]) | measured


def _warm_up(model: JointModel, training: Samples, batch_size: int, on_progress: Callable[[float], None]) -> None:
    """Train the density map alone towards the annotation map, on a random stream of samples of its own.

    It is short, so every worker does the same; afterwards all continue with the weights of worker 0."""
    if not model.learns_maps:
        return
    options = model.density_map.params
    optimiser = torch.optim.Adam(model.density_map.parameters(), lr=options.warm_up_lr)
    for _, (batch, images) in zip(range(options.warm_up), training.endless(batch_size, WARM_UP), strict=False):
        on_progress(0)
        batch = batch.to(model.device)
        optimiser.zero_grad()
        maps = model.target(batch.crops)
        (squared_error(maps, model.annotation(batch.crops)).sum() / images).backward()
        optimiser.step()
