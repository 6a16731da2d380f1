"""The optimisers of the two networks, and their learning rates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from components.params import Optimiser, Training
from components.training.joint import JointModel

Optimisers = dict[str, torch.optim.Optimizer]


def optimisers(model: JointModel) -> Optimisers:
    networks = {"counter": model.counter} | ({"density_map": model.density_map} if model.learns_maps else {})
    return {name: _optimiser(network.parameters(), network.params.optimiser) for name, network in networks.items()}


def _optimiser(parameters: Iterator[nn.Parameter], options: Optimiser) -> torch.optim.Optimizer:
    groups = [{"params": list(parameters), "initial_lr": options.lr}]
    if options.kind == "adam":
        return torch.optim.Adam(groups, lr=options.lr, weight_decay=options.weight_decay)
    return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum, weight_decay=options.weight_decay)


def rates(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    """What the next step multiplies each weight's gradient with, momentum aside: the learning rate, for Adam divided by
    the root of the mean square of the weight's gradients, this one's among them."""
    return [
        _rate(weight, group, optimiser.state[weight]) for group in optimiser.param_groups for weight in group["params"]
    ]


def _rate(weight: Tensor, group: dict[str, Any], state: dict[str, Any]) -> Tensor:
    if "betas" not in group:
        return torch.full_like(weight, group["lr"])
    assert weight.grad is not None
    decay, steps = group["betas"][1], float(state.get("step", 0)) + 1
    squares = decay * state.get("exp_avg_sq", 0) + (1 - decay) * weight.grad.square()
    return group["lr"] / ((squares / (1 - decay**steps)).sqrt() + group["eps"])


def schedule(optimisers: list[torch.optim.Optimizer], options: Training, epochs: float) -> None:
    """Set the learning rates for the step that begins after so many epochs."""
    share = 1.0 if options.schedule == "constant" else (1 + math.cos(math.pi * epochs / options.epochs)) / 2
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = share * group["initial_lr"]
