"""The optimisers of the two networks, and their learning rates."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from components.config.options import Optimiser
from components.config.study import Training
from components.networks import trainable
from components.training.joint import JointModel

Tensors = tuple[Tensor, ...] | list[Tensor]
Optimisers = dict[str, torch.optim.Optimizer]


def build_optimisers(model: JointModel) -> Optimisers:
    """The optimiser of the counter, and of the density map if it learns, by the names of the networks."""
    networks = {"counter": model.counter} | ({"density_map": model.density_map} if model.learns_maps else {})
    return {
        name: _optimiser(trainable(network).values(), network.params.optimiser) for name, network in networks.items()
    }


def _optimiser(parameters: Iterable[nn.Parameter], options: Optimiser) -> torch.optim.Optimizer:
    groups = [{"params": list(parameters), "initial_lr": options.lr}]
    if options.kind == "adam":
        return torch.optim.Adam(groups, lr=options.lr, weight_decay=options.weight_decay)
    return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum, weight_decay=options.weight_decay)


def build_average(counter: nn.Module, decay: float | None) -> AveragedModel | None:
    """A moving average of a counter's weights, if `decay` asks for one, to be updated after every step.

    The first steps weigh less: after t of them the decay is at most (1 + t) / (10 + t), as in TensorFlow's
    ExponentialMovingAverage, so that a short training is not an average with the start."""
    if decay is None:
        return None

    @torch.no_grad()
    def update(averages: Tensors, weights: Tensors, steps: Tensor | int) -> None:
        done = int(steps)
        torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + done) / (10 + done)))

    return AveragedModel(counter, multi_avg_fn=update)


def set_learning_rates(optimisers: list[torch.optim.Optimizer], options: Training, epochs: float) -> None:
    """Set the learning rates that the schedule has after `epochs`, a fraction within an epoch."""
    factor = 1.0 if options.schedule == "constant" else (1 + math.cos(math.pi * epochs / options.epochs)) / 2
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = factor * group["initial_lr"]
