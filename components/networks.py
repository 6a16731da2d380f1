"""How the weights of every network start."""

from __future__ import annotations

from typing import Literal

from torch import nn

OWN = "its own initialisation"  # what a network starts from that was given no weights

Initialisation = Literal["default", "he", "normal"]


def initialise(module: nn.Module, how: Initialisation) -> None:
    """Start every convolution: "he" (He et al. 2015, fan in) and "normal" (N(0, 0.01), MCNN and CSRNet) zero the biases.

    "default" leaves PyTorch's own, whose random biases drown the dots in a generator."""
    for layer in module.modules():
        if not isinstance(layer, nn.Conv2d) or how == "default":
            continue
        if how == "he":
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        else:
            nn.init.normal_(layer.weight, std=0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
