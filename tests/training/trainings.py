"""Trainings by the loop alone, as tests compare them."""

from __future__ import annotations

from io import BytesIO

import torch

from components.training.assemble import assemble, samples
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
