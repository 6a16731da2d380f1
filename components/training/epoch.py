"""One epoch of the training loop: its steps, which all workers make or skip together, and where it was stopped.

It uses neither Ray nor files, as the rest of the loop (`components/training/fit.py`)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil
from typing import TypeVar

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from components.config.study import Training
from components.crowd import Batch
from components.training.bilevel import bilevel_update
from components.training.joint import JointModel
from components.training.optimisers import Optimisers, set_learning_rates
from components.training.samples import OUTER, Samples, prefetch

T = TypeVar("T")

Record = dict[str, float]


@dataclass
class Totals:
    """What an epoch has come to after so many of its steps: plain numbers, which a state can hold."""

    steps: int = 0
    images: int = 0
    skipped: int = 0  # steps that were not finite
    images_skipped: int = 0
    in_a_row: int = 0  # of the skipped steps, those since the last one that was made
    losses: list[float] = field(default_factory=lambda: [0.0, 0.0])  # counting, refinement: summed over all images
    seconds: float = 0.0
    waited: float = 0.0  # seconds for data


class StoppedError(Exception):
    """The epoch was to stop after a step. It is raised on every worker after the same one."""


class NotFiniteError(Exception):
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


def train_epoch(
    model: JointModel,
    optimisers: Optimisers,
    training: Samples,
    options: Training,
    epoch: int,
    communicator: Communicator,
    on_progress: Callable[[float], None],
    average: AveragedModel | None = None,
    *,
    totals: Totals | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
    part_is_due: Callable[[], bool] = lambda: False,
    on_part: Callable[[Totals], None] = lambda totals: None,
) -> Record:
    """One pass over the training images, from where `totals` says that it was left. Losses are means over images of
    sums over cells, as in equations (3) and (7); "waiting" is the share of the time that was spent waiting for data.

    After a step that is not the last, `on_part` is called on every worker if `part_is_due` of worker 0 was true, or
    `stop_requested` of any worker; after the latter this raises StoppedError."""
    totals = totals or Totals()
    learn_maps = model.learns_maps and epoch % model.density_map.params.update_every == 0
    active = [optimisers["counter"], optimisers["density_map"]] if learn_maps else [optimisers["counter"]]
    if learn_maps:
        model.clear_map_cache()
    share = {"rank": communicator.rank, "workers": communicator.size}
    every = model.density_map.bilevel_every if learn_maps else None
    first_outer = ceil(totals.steps / every) if every else 0
    outer = training.batches(epoch, options.batch_size, **share, stream=OUTER, first=first_outer)
    batches = prefetch(training.batches(epoch, options.batch_size, **share, first=totals.steps))
    sums, seconds_before = torch.tensor(totals.losses), totals.seconds
    started = requested = time.perf_counter()
    model.train()
    for batch, images in batches:
        totals.waited += time.perf_counter() - requested
        set_learning_rates(active, options, epoch - 1 + totals.images / len(training))
        bilevel = every is not None and totals.steps % every == 0
        updated = active if bilevel or every is None else active[:1]
        losses = train_step(model, updated, batch, images, learn_maps, communicator, next(outer) if bilevel else None)
        totals.in_a_row = 0 if losses is not None else totals.in_a_row + 1
        if losses is not None:
            sums += losses
            if average:
                average.update_parameters(model.counter)
        else:
            totals.skipped, totals.images_skipped = totals.skipped + 1, totals.images_skipped + images
        totals.steps, totals.images, totals.losses = totals.steps + 1, totals.images + images, sums.tolist()
        totals.seconds = seconds_before + time.perf_counter() - started
        if totals.in_a_row > options.max_skipped or totals.images_skipped == len(training):
            raise NotFiniteError(batch, totals.skipped)
        on_progress(epoch - 1 + totals.images / len(training))
        stop, save = _agree(communicator, stop_requested(), communicator.rank == 0 and part_is_due())
        if totals.images < len(training):
            if stop or save:
                on_part(totals)
            if stop:
                raise StoppedError
        requested = time.perf_counter()
    counting, refinement = (sums / max(totals.images - totals.images_skipped, 1)).tolist()
    return {
        "epoch": epoch,
        "seconds": totals.seconds,
        "waiting": totals.waited / totals.seconds,
        "loss": counting + refinement,
        "counting_loss": counting,
        "refinement_loss": refinement,
        **({"skipped_steps": totals.skipped} if totals.skipped else {}),
    }


def _agree(communicator: Communicator, *answers: bool) -> list[bool]:
    """For each question, whether any worker says yes."""
    votes = torch.tensor([float(each) for each in answers])
    communicator.all_reduce_([votes])
    return [bool(each) for each in votes]


def train_step(
    model: JointModel,
    optimisers: list[torch.optim.Optimizer],
    batch: Batch | None,
    images: int,
    learn_maps: bool,
    communicator: Communicator,
    outer: tuple[Batch | None, int] | None = None,
) -> Tensor | None:
    """One update from this worker's share of a batch of `images`; returns the losses, summed over the batch, (2,).

    Where a loss or a gradient of any worker is not finite none of them makes the step: None. With an `outer` batch, of
    which this is the worker's share too, the density map follows `bilevel` instead of these losses."""
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=False)
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]  # statistics of batch norm
    sums, losses = torch.zeros(2), None
    if batch is not None:
        batch = batch.to(model.device)
        losses = model(batch, learn_maps=learn_maps)
        batch = replace(batch, crops=losses.crops)
        ((losses.counting + losses.refinement).sum() / images).backward()
        sums = torch.stack([losses.counting.sum(), losses.refinement.sum()]).detach().cpu()
    total = sums.clone()
    sum_gradients(optimisers, communicator, total)
    if outer is not None:
        bilevel_update(model, optimisers[0], (batch, images), outer, losses, communicator.all_reduce_)
        sum_gradients(optimisers[1:], communicator)
    if not _all_finite(optimisers, total):  # the same on all workers: sums over them
        for buffer, before in buffers:
            buffer.copy_(before)
        return None
    for optimiser in optimisers:
        optimiser.step()
    return total


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
