"""The loop: algorithms 1 and 2 of the paper, one backward pass and two optimisers.

It knows neither Ray nor files. After every epoch it calls `report(record, state)`: what was measured, and all that is
needed to go on from there. Given such a state it ends bit for bit as if it had never stopped (CPU, same threads)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.config.study import Training
from components.crowd import Batch
from components.errors import UserError
from components.evaluation.metrics import mae, rmse
from components.evaluation.score import score
from components.losses.shared.squared_error import squared_error
from components.training import bilevel
from components.training import optimisers as updates
from components.training.alarms import alarms, health
from components.training.joint import JointModel
from components.training.samples import OUTER, WARM_UP, Samples, ahead

EXAMPLES = 8  # validation images whose learned maps the alarms look at

Record = dict[str, float]
State = dict[str, Any]  # tensors, numbers, strings, and dicts and lists of them: torch.load(weights_only=True) reads it
Report = Callable[[Record, State], None]


class DivergedError(UserError):
    """Predictions are no longer finite: on every worker at the same time."""


class World:
    """The workers that train one model together: here only this one. `distributed.py` has the one over a network."""

    rank, size = 0, 1

    def sum_(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its sum over the workers."""

    def gather(self, items: list) -> list:
        """The items of all workers."""
        return items

    def same_(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by worker 0's."""


def fit(
    model: JointModel,
    training: Samples,
    validation: Samples,
    options: Training,
    *,
    report: Report,
    state: State | None = None,
    world: World | None = None,
    tick: Callable[[float], None] = lambda epochs: None,
) -> State:
    """Train, and return the last state; its "best" is the model with the smallest MAE on the validation split.

    `state` is an earlier report's: training goes on behind it. `tick` hears how far training is, in epochs."""
    world = world or World()
    optimisers = updates.optimisers(model)
    if state is None:
        _warm_up(model, training, options.batch_size)
        world.same_([*model.parameters()])
        state = {"epoch": 0, "history": [], "best": None}
    else:
        _restore(state, model, optimisers)
    for epoch in range(state["epoch"] + 1, options.epochs + 1):
        if options.stop_on_alarm and state["history"] and alarms(state["history"][-1]):
            break
        record = _train_epoch(model, optimisers, training, options, epoch, world, tick)
        if epoch % options.validate_every == 0 or epoch == options.epochs:
            record |= _validate(model, validation, world)
        state = _next_state(state, record, model, optimisers)
        report(record, state)
    return state


def _train_epoch(
    model: JointModel,
    optimisers: updates.Optimisers,
    training: Samples,
    options: Training,
    epoch: int,
    world: World,
    tick: Callable[[float], None],
) -> Record:
    """One pass over the training images; means over images and cells' sums, as equations (3) and (7) have them."""
    learn_maps = model.learns_maps and epoch % model.density_map.params.update_every == 0
    active = [optimisers["counter"], optimisers["density_map"]] if learn_maps else [optimisers["counter"]]
    if learn_maps:
        model.thaw()
    share = {"rank": world.rank, "workers": world.size}
    outer = training.batches(epoch, options.batch_size, **share, stream=OUTER)
    every = model.density_map.looks_ahead if learn_maps else None
    sums, waited, done, started = torch.zeros(2), 0.0, 0, time.perf_counter()
    asked = started
    model.train()
    for step, (batch, images) in enumerate(ahead(training.batches(epoch, options.batch_size, **share))):
        waited += time.perf_counter() - asked
        updates.schedule(active, options, epoch - 1 + done / len(training))
        turn = every is not None and step % every == 0
        learning = active if turn or every is None else active[:1]
        sums += _step(model, learning, batch, images, learn_maps, world, next(outer) if turn else None)
        done += images
        tick(epoch - 1 + done / len(training))
        asked = time.perf_counter()
    world.sum_([sums])
    counting, refinement = (sums / max(done, 1)).tolist()
    seconds = time.perf_counter() - started
    return {
        "epoch": epoch,
        "seconds": seconds,
        "waiting": waited / seconds,
        "loss": counting + refinement,
        "counting_loss": counting,
        "refinement_loss": refinement,
    }


def _step(
    model: JointModel,
    optimisers: list[torch.optim.Optimizer],
    batch: Batch | None,
    images: int,
    learn_maps: bool,
    world: World,
    outer: tuple[Batch | None, int] | None = None,
) -> Tensor:
    """One update from this worker's share of a batch of `images`; returns its summed losses (2,).

    With an `outer` batch, whose share it has too, the density map follows `bilevel` instead of these losses."""
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=False)
    sums = torch.zeros(2)
    if batch is not None:
        batch = batch.to(model.device)
        losses = model(batch, learn_maps=learn_maps)
        ((losses.counting + losses.refinement).sum() / images).backward()
        sums = torch.stack([losses.counting.sum(), losses.refinement.sum()]).detach().cpu()
    _sum_gradients(optimisers, world)
    if outer is not None:
        bilevel.look_ahead(model, (batch, images), outer, sums[0], world.sum_)
        _sum_gradients(optimisers[1:], world)
    for optimiser in optimisers:
        optimiser.step()
    return sums


def _sum_gradients(optimisers: list[torch.optim.Optimizer], world: World) -> None:
    parameters = [each for optimiser in optimisers for group in optimiser.param_groups for each in group["params"]]
    for parameter in parameters:
        if parameter.grad is None:  # this worker had no share of the first batch
            parameter.grad = torch.zeros_like(parameter)
    world.sum_([parameter.grad for parameter in parameters if parameter.grad is not None])


def _validate(model: JointModel, validation: Samples, world: World) -> Record:
    """Whole images, each counted once whatever the number of workers."""
    model.eval()
    mine = range(world.rank, len(validation), world.size)
    scores = world.gather(score(model.predict, validation.scored(mine), model.stride))
    scores.sort(key=lambda each: each.id)
    truths, predictions = (np.array([getattr(each, name) for each in scores]) for name in ("truth", "prediction"))
    record = {"val_mae": float(mae(truths, predictions)), "val_rmse": float(rmse(truths, predictions))}
    if not math.isfinite(record["val_mae"]):
        raise DivergedError("training diverged: predictions are no longer finite; lower counter.optimiser.lr")
    looked = [_map_health(model, validation)] if model.learns_maps and world.rank == 0 else []
    return record | dict(*world.gather(looked))


def _map_health(model: JointModel, validation: Samples) -> Record:
    maps, annotations = [], []
    for index in range(min(EXAMPLES, len(validation))):
        batch = validation.whole(index).to(model.device)
        with torch.no_grad():
            maps.append((model.target(batch)[0, 0] / model.scale).cpu().numpy())
        annotations.append(batch.annotations[0].cpu().numpy())
    return health(maps, annotations)


def _warm_up(model: JointModel, training: Samples, batch_size: int) -> None:
    """The density map alone learns the annotation map, from a stream of samples of its own.

    Every worker does the same, as it is short; they go on from what worker 0 has then."""
    if not model.learns_maps:
        return
    options = model.density_map.params
    optimiser = torch.optim.Adam(model.density_map.parameters(), lr=options.warm_up_lr)
    for _, (batch, images) in zip(range(options.warm_up), training.endless(batch_size, WARM_UP), strict=False):
        batch = batch.to(model.device)
        optimiser.zero_grad()
        maps = model.target(batch)
        (squared_error(maps, model.annotation(batch)).sum() / images).backward()
        optimiser.step()


def _restore(state: State, model: nn.Module, optimisers: updates.Optimisers) -> None:
    model.load_state_dict(state["model"])
    for name, optimiser in optimisers.items():
        optimiser.load_state_dict(state["optimisers"][name])


def _next_state(state: State, record: Record, model: JointModel, optimisers: updates.Optimisers) -> State:
    best = state["best"]
    if "val_mae" in record and (best is None or record["val_mae"] < best["val_mae"]):
        best = {"epoch": record["epoch"], "val_mae": record["val_mae"], "model": deepcopy(model.state_dict())}
    return {
        "epoch": int(record["epoch"]),
        "history": [*state["history"], record],
        "best": best,
        "stride": model.stride,
        "model": model.state_dict(),
        "optimisers": {name: optimiser.state_dict() for name, optimiser in optimisers.items()},
    }
