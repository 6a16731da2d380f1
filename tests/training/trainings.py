"""Trainings by the loop alone, as tests compare them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from io import BytesIO
from threading import Barrier

import torch

from components.training.assemble import assemble, samples
from components.training.epoch import Communicator
from components.training.fit import fit

GENERATED = {"kind": "generated", "warm_up": 2, "sigmas": [1, 4], "update_every": 2}
MIXTURE = {"kind": "mixture", "warm_up": 2}
REFINED = {"kind": "refined", "widths": [4, 4], "warm_up": 2}


def saved(state):
    """A state as it comes back from a file."""
    file = BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def trained(made, plan, seed: int = 0, epochs: int | None = None, state=None):
    """The model and the states that a training leaves behind, as they come back from a file."""
    model, states = assemble(plan, seed), []
    training, validation = samples(plan, seed, made, model.stride)
    options = plan.training if epochs is None else plan.training.model_copy(update={"epochs": epochs})

    fit(model, training, validation, options, report=lambda record, state: states.append(saved(state)), state=state)
    return model, states


def same(first: dict, second: dict) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def spoil(model, calls: set[int] | range) -> None:
    """Make the counter's predictions NaN in these calls of the training, counted from 0."""
    made = iter(range(10**6))

    def hook(module, inputs, outputs):
        return outputs * float("nan") if torch.is_grad_enabled() and next(made) in calls else outputs

    model.counter.register_forward_hook(hook)


class ThreadCommunicator(Communicator):
    """A worker that is a thread of this process; `shared` has a place for each of them."""

    def __init__(self, rank: int, shared: list, barrier: Barrier) -> None:
        self.rank, self.size, self.shared, self.barrier = rank, len(shared), shared, barrier

    def all_gather(self, items: list) -> list:
        self.shared[self.rank] = deepcopy(items)
        self.barrier.wait(60)
        found = [item for share in self.shared for item in share]
        self.barrier.wait(60)
        return found

    def all_reduce_(self, tensors: list[torch.Tensor]) -> None:
        parts = self.all_gather([tensors])
        for number, tensor in enumerate(tensors):
            tensor.copy_(sum(part[number] for part in parts))

    def broadcast_(self, tensors: list[torch.Tensor]) -> None:
        for tensor, value in zip(tensors, self.all_gather([[each.data for each in tensors]])[0], strict=True):
            tensor.data.copy_(value)


def trained_by(workers: int, made, plan, state=None, **callbacks) -> tuple[dict, list[dict]]:
    """The last state of a training by threads, and the states that it reported within epochs, as worker 0 has them."""
    models, parts = [assemble(plan, 0) for _ in range(workers)], []
    shared, barrier = [None] * workers, Barrier(workers)

    def work(rank: int) -> dict:
        return fit(
            models[rank],
            *samples(plan, 0, made, models[rank].stride),
            plan.training,
            report=lambda record, state: parts.append(saved(state)) if record is None and rank == 0 else None,
            state=deepcopy(state),
            communicator=ThreadCommunicator(rank, shared, barrier),
            **callbacks,
        )

    with ThreadPoolExecutor(workers) as pool:
        return next(pool.map(work, range(workers))), parts
