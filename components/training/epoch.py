"""One epoch of the training loop: its steps, which all workers make or skip together, and where it was stopped.

It uses neither Ray nor files, as the rest of the loop (`components/training/fit.py`)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
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

    def add(self, images: int, losses: Tensor | None) -> None:
        """Count a step on so many images, which was skipped where it has no losses."""
        self.steps, self.images = self.steps + 1, self.images + images
        if losses is None:
            self.skipped, self.images_skipped = self.skipped + 1, self.images_skipped + images
            self.in_a_row += 1
        else:
            self.losses, self.in_a_row = (torch.tensor(self.losses) + losses).tolist(), 0

    def record(self, epoch: int) -> Record:
        """What is reported of the whole epoch."""
        counting, refinement = (total / max(self.images - self.images_skipped, 1) for total in self.losses)
        return {
            "epoch": epoch,
            "seconds": self.seconds,
            "waiting": self.waited / self.seconds,
            "loss": counting + refinement,
            "counting_loss": counting,
            "refinement_loss": refinement,
            **({"skipped_steps": self.skipped} if self.skipped else {}),
        }


@dataclass(frozen=True)
class Pauses:
    """What happens between two steps: `on_part` is called on every worker if `part_is_due` of worker 0 was true, or
    `stop_requested` of any worker; after the latter the epoch ends with StoppedError."""

    stop_requested: Callable[[], bool] = lambda: False
    part_is_due: Callable[[], bool] = lambda: False
    on_part: Callable[[Totals], None] = lambda totals: None


NO_PAUSES = Pauses()


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
    pauses: Pauses = NO_PAUSES,
) -> Record:
    """One pass over the training images, from where `totals` says that it was left. Losses are means over images of
    sums over cells, as in equations (3) and (7); "waiting" is the share of the time that was spent waiting for data.

    Raises StoppedError: see `Pauses`; and NotFiniteError, on every worker after the same step."""
    totals = totals or Totals()
    learn_maps = model.learns_maps and epoch % model.density_map.params.update_every == 0
    active = [optimisers["counter"], optimisers["density_map"]] if learn_maps else [optimisers["counter"]]
    if learn_maps:
        model.clear_map_cache()
    every = model.density_map.bilevel_every if learn_maps else None
    batches, outer = _batches(training, options.batch_size, epoch, totals.steps, every, communicator)
    seconds_before, started = totals.seconds, time.perf_counter()
    requested = started
    model.train()
    for batch, images in batches:
        totals.waited += time.perf_counter() - requested
        set_learning_rates(active, options, epoch - 1 + totals.images / len(training))
        bilevel = every is not None and totals.steps % every == 0
        updated = active if bilevel or every is None else active[:1]
        losses = train_step(model, updated, batch, images, learn_maps, communicator, next(outer) if bilevel else None)
        totals.add(images, losses)
        if average and losses is not None:
            average.update_parameters(model.counter)
        totals.seconds = seconds_before + time.perf_counter() - started
        if totals.in_a_row > options.max_skipped or totals.images_skipped == len(training):
            raise NotFiniteError(batch, totals.skipped)
        on_progress(epoch - 1 + totals.images / len(training))
        if totals.images < len(training):
            stop, save = _agree(communicator, pauses.stop_requested(), communicator.rank == 0 and pauses.part_is_due())
            if stop or save:
                pauses.on_part(totals)
            if stop:
                raise StoppedError
        requested = time.perf_counter()
    return totals.record(epoch)


def _batches(
    training: Samples, size: int, epoch: int, steps: int, every: int | None, communicator: Communicator
) -> tuple[Iterator[tuple[Batch | None, int]], Iterator[tuple[Batch | None, int]]]:
    """A worker's share of the batches of an epoch after so many steps, and of the outer ones, for each `every`-th."""
    share = {"rank": communicator.rank, "workers": communicator.size}
    first_outer = ceil(steps / every) if every else 0
    outer = training.batches(epoch, size, **share, stream=OUTER, first=first_outer)
    return prefetch(training.batches(epoch, size, **share, first=steps)), outer


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
