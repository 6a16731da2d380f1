"""The training loop: algorithms 1 and 2 of the paper, one backward pass and two optimisers.

It uses neither Ray nor files. After every epoch it calls `report(record, state)`, with what was measured and all that
is needed to resume. A resumed training ends bit for bit as an uninterrupted one (CPU, same number of threads)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from components.config.study import Training
from components.crowd import Batch, Counter
from components.errors import UserError
from components.evaluation.metrics.mae import mean_absolute_error
from components.evaluation.metrics.rmse import root_mean_squared_error
from components.evaluation.score import score
from components.losses.shared.squared_error import squared_error
from components.training.alarms import alarms, health
from components.training.bilevel import bilevel_update
from components.training.joint import JointModel
from components.training.optimisers import Optimisers, build_average, build_optimisers, set_learning_rates
from components.training.samples import OUTER, WARM_UP, Samples, prefetch

T = TypeVar("T")
EXAMPLES = 8  # validation images whose learned maps are checked by the alarms

Record = dict[str, float]
State = dict[str, Any]  # tensors, numbers, strings, and dicts and lists of them: torch.load(weights_only=True) reads it
Report = Callable[[Record, State], None]


class DivergedError(UserError):
    """Predictions, or losses and gradients of many steps in a row, are no longer finite. It is raised on every worker
    at the same time. `batch` is this worker's share of the last batch, if there was one: images (B, 3, H, W) uint8, and
    the numbers of the images in the manifest."""

    def __init__(self, text: str, batch: dict[str, Any] | None = None) -> None:
        super().__init__(text)
        self.batch = batch


class _NotFiniteError(Exception):
    """Too many steps in a row were skipped."""

    def __init__(self, batch: Batch | None, skipped: int) -> None:
        super().__init__()
        self.batch, self.skipped = batch, skipped


class Communicator:
    """The workers that train one model together: here only this one. `ray_train.py` has the one for several."""

    rank, size = 0, 1

    def all_reduce_(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its sum over the workers."""

    def all_gather(self, items: list[T]) -> list[T]:
        """The items of all workers."""
        return items

    def broadcast_(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by worker 0's."""


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
) -> State:
    """Train, and return the last state; its "best" is the model with the smallest MAE on the validation split.

    With no epochs that is the model as it was given, measured on the validation split as epoch 0.

    `state`: one that an earlier call reported; training continues from it. `on_progress` is called after each step
    with the epochs done so far. After more than `max_skipped` steps in a row whose losses or gradients are not finite,
    training goes back to the last epoch, once, at half the learning rates. Raises DivergedError where that happens a
    second time, or where predictions are no longer finite."""
    communicator = communicator or Communicator()
    optimisers, average = build_optimisers(model), build_average(model.counter, options.average)
    averaged = model
    if average:
        averaged = JointModel(cast(Counter, average.module), model.density_map, model.loss, model.scale)
    if state is None:
        _warm_up(model, training, options.batch_size)
        communicator.broadcast_([*model.parameters()])
        state = {"epoch": 0, "history": [], "best": None, **_copies(model, optimisers, average)}
    else:
        _restore(state, model, optimisers, average)
    if options.epochs == 0 and not state["history"]:
        started = time.perf_counter()
        record = {"epoch": 0, **_validate(averaged, validation, communicator)}
        record["seconds"] = time.perf_counter() - started
        state = _next_state(state, record, model, averaged, optimisers, average)
        report(record, state)
    while (epoch := state["epoch"] + 1) <= options.epochs:
        if options.stop_on_alarm and state["history"] and alarms(state["history"][-1]):
            break
        try:
            record = train_epoch(model, optimisers, training, options, epoch, communicator, on_progress, average)
        except _NotFiniteError as error:
            state = _roll_back(state, error, model, optimisers, average)
            continue
        if epoch % options.validate_every == 0 or epoch == options.epochs:
            record |= _validate(averaged, validation, communicator)
        record |= {"learning_rate_factor": 0.5} if state.get("halved") else {}
        state = _next_state(state, record, model, averaged, optimisers, average)
        report(record, state)
    return state


def train_epoch(
    model: JointModel,
    optimisers: Optimisers,
    training: Samples,
    options: Training,
    epoch: int,
    communicator: Communicator,
    on_progress: Callable[[float], None],
    average: AveragedModel | None = None,
) -> Record:
    """One pass over the training images. Losses are means over images of sums over cells, as in equations (3) and (7);
    "waiting" is the share of the time that was spent waiting for data."""
    learn_maps = model.learns_maps and epoch % model.density_map.params.update_every == 0
    active = [optimisers["counter"], optimisers["density_map"]] if learn_maps else [optimisers["counter"]]
    if learn_maps:
        model.clear_map_cache()
    share = {"rank": communicator.rank, "workers": communicator.size}
    outer = training.batches(epoch, options.batch_size, **share, stream=OUTER)
    every = model.density_map.bilevel_every if learn_maps else None
    sums, waited, images_done, started = torch.zeros(2), 0.0, 0, time.perf_counter()
    requested, images_skipped, skipped, in_a_row = started, 0, 0, 0
    model.train()
    for step, (batch, images) in enumerate(prefetch(training.batches(epoch, options.batch_size, **share))):
        waited += time.perf_counter() - requested
        set_learning_rates(active, options, epoch - 1 + images_done / len(training))
        bilevel = every is not None and step % every == 0
        updated = active if bilevel or every is None else active[:1]
        losses = train_step(model, updated, batch, images, learn_maps, communicator, next(outer) if bilevel else None)
        in_a_row = 0 if losses is not None else in_a_row + 1
        if losses is not None:
            sums += losses
            if average:
                average.update_parameters(model.counter)
        else:
            skipped, images_skipped = skipped + 1, images_skipped + images
        images_done += images
        if in_a_row > options.max_skipped or images_skipped == len(training):
            raise _NotFiniteError(batch, skipped)
        on_progress(epoch - 1 + images_done / len(training))
        requested = time.perf_counter()
    communicator.all_reduce_([sums])
    counting, refinement = (sums / max(images_done - images_skipped, 1)).tolist()
    seconds = time.perf_counter() - started
    return {
        "epoch": epoch,
        "seconds": seconds,
        "waiting": waited / seconds,
        "loss": counting + refinement,
        "counting_loss": counting,
        "refinement_loss": refinement,
        **({"skipped_steps": skipped} if skipped else {}),
    }


def train_step(
    model: JointModel,
    optimisers: list[torch.optim.Optimizer],
    batch: Batch | None,
    images: int,
    learn_maps: bool,
    communicator: Communicator,
    outer: tuple[Batch | None, int] | None = None,
) -> Tensor | None:
    """One update from this worker's share of a batch of `images`; returns the summed losses of its share, (2,).

    Where a loss or a gradient of any worker is not finite none of them makes the step: None. With an `outer` batch, of
    which this is the worker's share too, the density map follows `bilevel` instead of these losses."""
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=False)
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]  # statistics of batch norm
    sums = torch.zeros(2)
    if batch is not None:
        batch = batch.to(model.device)
        losses = model(batch, learn_maps=learn_maps)
        batch = replace(batch, crops=losses.crops)
        ((losses.counting + losses.refinement).sum() / images).backward()
        sums = torch.stack([losses.counting.sum(), losses.refinement.sum()]).detach().cpu()
    total = sums.clone()
    sum_gradients(optimisers, communicator, total)
    if outer is not None:
        bilevel_update(model, optimisers[0], (batch, images), outer, sums[0], communicator.all_reduce_)
        sum_gradients(optimisers[1:], communicator)
    if not _all_finite(optimisers, total):  # the same on all workers: sums over them
        for buffer, before in buffers:
            buffer.copy_(before)
        return None
    for optimiser in optimisers:
        optimiser.step()
    return sums


def sum_gradients(optimisers: list[torch.optim.Optimizer], communicator: Communicator, *others: Tensor) -> None:
    """Replace the gradients of all parameters, and other tensors, by their sums over the workers."""
    for parameter in _parameters(optimisers):
        if parameter.grad is None:  # this worker had no share of the first batch
            parameter.grad = torch.zeros_like(parameter)
    communicator.all_reduce_([*_gradients(optimisers), *others])


def _all_finite(optimisers: list[torch.optim.Optimizer], losses: Tensor) -> bool:
    largest = torch.stack(torch._foreach_norm(_gradients(optimisers), math.inf))
    return bool(losses.isfinite().all() and largest.isfinite().all())


def _gradients(optimisers: list[torch.optim.Optimizer]) -> list[Tensor]:
    return [parameter.grad for parameter in _parameters(optimisers) if parameter.grad is not None]


def _parameters(optimisers: list[torch.optim.Optimizer]) -> list[Tensor]:
    return [each for optimiser in optimisers for group in optimiser.param_groups for each in group["params"]]


def _validate(model: JointModel, validation: Samples, communicator: Communicator) -> Record:
    """Errors on whole images, each counted once whatever the number of workers."""
    model.eval()
    share = range(communicator.rank, len(validation), communicator.size)
    scores = communicator.all_gather(score(model.predict_image, validation.scored(share), model.stride))
    scores.sort(key=lambda each: each.id)
    truths, predictions = (np.array([getattr(each, name) for each in scores]) for name in ("truth", "prediction"))
    record = {
        "val_mae": float(mean_absolute_error(truths, predictions)),
        "val_rmse": float(root_mean_squared_error(truths, predictions)),
    }
    if not math.isfinite(record["val_mae"]):
        raise DivergedError("training diverged: predictions are no longer finite; lower counter.optimiser.lr")
    map_health = [_map_health(model, validation)] if model.learns_maps and communicator.rank == 0 else []
    return record | dict(*communicator.all_gather(map_health))


def _map_health(model: JointModel, validation: Samples) -> Record:
    examples = [validation.full_crop(index).to(model.device) for index in range(min(EXAMPLES, len(validation)))]
    with torch.no_grad():
        crops = model.with_features(examples)
        maps = [(model.target([crop])[0, 0] / model.scale).cpu().numpy() for crop in crops]
        measured = model.density_map.measure(crops)
    return health(maps, [crop.annotation.cpu().numpy() for crop in crops]) | measured


def _warm_up(model: JointModel, training: Samples, batch_size: int) -> None:
    """Train the density map alone towards the annotation map, on a random stream of samples of its own.

    It is short, so every worker does the same; afterwards all continue with the weights of worker 0."""
    if not model.learns_maps:
        return
    options = model.density_map.params
    optimiser = torch.optim.Adam(model.density_map.parameters(), lr=options.warm_up_lr)
    for _, (batch, images) in zip(range(options.warm_up), training.endless(batch_size, WARM_UP), strict=False):
        batch = batch.to(model.device)
        optimiser.zero_grad()
        maps = model.target(batch.crops)
        (squared_error(maps, model.annotation(batch.crops)).sum() / images).backward()
        optimiser.step()


def _roll_back(
    state: State, error: _NotFiniteError, model: JointModel, optimisers: Optimisers, average: AveragedModel | None
) -> State:
    """Go back to the state after the last epoch, at half the learning rates. Raises DivergedError the second time."""
    if state.get("halved"):
        shown = None
        if error.batch is not None:
            shown = {"images": error.batch.images.cpu(), "numbers": [crop.number for crop in error.batch.crops]}
        raise DivergedError(
            f"training diverged in epoch {state['epoch'] + 1}: losses or gradients of {error.skipped} steps were not "
            "finite, at half the learning rates too; lower counter.optimiser.lr, or look at the images",
            shown,
        )
    _restore(state, model, optimisers, average)
    model.clear_map_cache()
    for optimiser in optimisers.values():
        for group in optimiser.param_groups:
            group["initial_lr"] /= 2
    return state | _copies(model, optimisers, average) | {"halved": True}


def _restore(state: State, model: nn.Module, optimisers: Optimisers, average: AveragedModel | None) -> None:
    model.load_state_dict(state["model"])
    for name, optimiser in optimisers.items():
        optimiser.load_state_dict(state["optimisers"][name])
    if average:
        average.load_state_dict(state["average"])


def _next_state(
    state: State,
    record: Record,
    model: JointModel,
    averaged: JointModel,
    optimisers: Optimisers,
    average: AveragedModel | None,
) -> State:
    """The state after an epoch. The best model is the one that was validated: the averaged one, if there is one."""
    best = state["best"]
    if "val_mae" in record and (best is None or record["val_mae"] < best["val_mae"]):
        best = {"epoch": record["epoch"], "val_mae": record["val_mae"], "model": deepcopy(averaged.state_dict())}
    return {
        "epoch": int(record["epoch"]),
        "history": [*state["history"], record],
        "best": best,
        "stride": model.stride,
        "scale": model.scale,
        "halved": state.get("halved", False),
        **_copies(model, optimisers, average),
    }


def _copies(model: JointModel, optimisers: Optimisers, average: AveragedModel | None) -> State:
    """What is trained, as it is now."""
    now = {
        "model": model.state_dict(),
        "optimisers": {name: optimiser.state_dict() for name, optimiser in optimisers.items()},
        **({"average": average.state_dict()} if average else {}),
    }
    return deepcopy(now)
