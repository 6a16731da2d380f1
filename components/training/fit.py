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
    """Predictions are no longer finite. It is raised on every worker at the same time."""


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
    with the epochs done so far. Raises DivergedError where predictions are no longer finite."""
    communicator = communicator or Communicator()
    optimisers, average = build_optimisers(model), build_average(model.counter, options.average)
    averaged = model
    if average:
        averaged = JointModel(cast(Counter, average.module), model.density_map, model.loss, model.scale)
    if state is None:
        _warm_up(model, training, options.batch_size)
        communicator.broadcast_([*model.parameters()])
        state = {"epoch": 0, "history": [], "best": None}
    else:
        _restore(state, model, optimisers, average)
    if options.epochs == 0 and not state["history"]:
        started = time.perf_counter()
        record = {"epoch": 0, **_validate(averaged, validation, communicator)}
        record["seconds"] = time.perf_counter() - started
        state = _next_state(state, record, model, averaged, optimisers, average)
        report(record, state)
    for epoch in range(state["epoch"] + 1, options.epochs + 1):
        if options.stop_on_alarm and state["history"] and alarms(state["history"][-1]):
            break
        record = train_epoch(model, optimisers, training, options, epoch, communicator, on_progress, average)
        if epoch % options.validate_every == 0 or epoch == options.epochs:
            record |= _validate(averaged, validation, communicator)
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
    requested = started
    model.train()
    for step, (batch, images) in enumerate(prefetch(training.batches(epoch, options.batch_size, **share))):
        waited += time.perf_counter() - requested
        set_learning_rates(active, options, epoch - 1 + images_done / len(training))
        bilevel = every is not None and step % every == 0
        updated = active if bilevel or every is None else active[:1]
        sums += train_step(model, updated, batch, images, learn_maps, communicator, next(outer) if bilevel else None)
        if average:
            average.update_parameters(model.counter)
        images_done += images
        on_progress(epoch - 1 + images_done / len(training))
        requested = time.perf_counter()
    communicator.all_reduce_([sums])
    counting, refinement = (sums / max(images_done, 1)).tolist()
    seconds = time.perf_counter() - started
    return {
        "epoch": epoch,
        "seconds": seconds,
        "waiting": waited / seconds,
        "loss": counting + refinement,
        "counting_loss": counting,
        "refinement_loss": refinement,
    }


def train_step(
    model: JointModel,
    optimisers: list[torch.optim.Optimizer],
    batch: Batch | None,
    images: int,
    learn_maps: bool,
    communicator: Communicator,
    outer: tuple[Batch | None, int] | None = None,
) -> Tensor:
    """One update from this worker's share of a batch of `images`; returns the summed losses of its share, (2,).

    With an `outer` batch, of which this is the worker's share too, the density map follows `bilevel` instead of these
    losses."""
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=False)
    sums = torch.zeros(2)
    if batch is not None:
        batch = batch.to(model.device)
        losses = model(batch, learn_maps=learn_maps)
        batch = replace(batch, crops=losses.crops)
        ((losses.counting + losses.refinement).sum() / images).backward()
        sums = torch.stack([losses.counting.sum(), losses.refinement.sum()]).detach().cpu()
    sum_gradients(optimisers, communicator)
    if outer is not None:
        bilevel_update(model, optimisers[0], (batch, images), outer, sums[0], communicator.all_reduce_)
        sum_gradients(optimisers[1:], communicator)
    for optimiser in optimisers:
        optimiser.step()
    return sums


def sum_gradients(optimisers: list[torch.optim.Optimizer], communicator: Communicator) -> None:
    """Replace the gradients of all parameters by their sums over the workers."""
    parameters = [each for optimiser in optimisers for group in optimiser.param_groups for each in group["params"]]
    for parameter in parameters:
        if parameter.grad is None:  # this worker had no share of the first batch
            parameter.grad = torch.zeros_like(parameter)
    communicator.all_reduce_([parameter.grad for parameter in parameters if parameter.grad is not None])


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
        "model": model.state_dict(),
        "optimisers": {name: optimiser.state_dict() for name, optimiser in optimisers.items()},
        **({"average": average.state_dict()} if average else {}),
    }
