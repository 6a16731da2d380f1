"""MCNN: three columns with large, medium and small kernels see heads of three sizes. Stride 4.

Zhang, Zhou, Chen, Gao, Ma, "Single-Image Crowd Counting via Multi-Column Convolutional Neural Network", CVPR 2016.
127,953 parameters with one input channel, 133,705 with three. Images whose sides are not multiples of 4 are padded,
where public scripts of MCNN scale them down."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from components.config.options import Optimiser, Options
from components.counters.shared.mcnn_checkpoint import load_checkpoint
from components.counters.shared.preprocessing import grey, standardise
from components.crowd import RANDOM_INITIALISATION, Counter, pad_to
from components.errors import UserError
from components.networks import Initialisation, initialise

COLUMNS = ((9, 7, 16, 32, 16, 8), (7, 5, 20, 40, 20, 10), (5, 3, 24, 48, 24, 12))  # first kernel, others, features


class Params(Options):
    """`pixels`: "bytes" feeds 0-255 as the paper does, "standardised" subtracts the mean and divides by the spread.

    Most published checkpoints were trained with `channels: 1`, `pixels: bytes`, `final_relu: true`, and
    `training.target_scale: 1`."""

    channels: Literal[1, 3] = Field(3, description="of the images that it reads; 1: grey")
    pixels: Literal["standardised", "bytes"] = Field("standardised", description="how pixels are fed to it")
    final_relu: bool = Field(False, description="no cell below 0; nothing is learned if all cells are")
    weights: Path | None = Field(None, description="a published checkpoint to start from; none: initialisation")
    initialisation: Initialisation = Field("he", description="of the weights; normal: N(0, 0.01), default: PyTorch's")
    optimiser: Optimiser = Optimiser(lr=3e-4)


PRESETS = {"paper": {"pixels": "bytes", "initialisation": "normal", "optimiser": {"kind": "adam", "lr": 1e-5}}}


def build(params: Params, channels: int = 1) -> MCNN:
    """Raises UserError for options that only fit a counter whose one output is people per cell."""
    if channels > 1 and params.weights:
        raise UserError(
            f"counter.weights: {params.weights} is a checkpoint of an MCNN with one output, and the loss reads "
            f"{channels}; leave weights out, or choose a loss that reads one"
        )
    if channels > 1 and params.final_relu:
        raise UserError(
            f"counter.final_relu: must be false with a loss that reads {channels} outputs, which may be below 0"
        )
    return MCNN(params, channels)


class MCNN(Counter):
    stride = 4

    def __init__(self, params: Params, channels: int) -> None:
        super().__init__()
        self.params = params
        self.columns = nn.ModuleList(_column(params.channels, *column) for column in COLUMNS)
        self.fuse = nn.Conv2d(sum(column[-1] for column in COLUMNS), channels, 1)
        initialise(self, params.initialisation)

    def load_pretrained(self) -> str:
        return load_checkpoint(self, self.params.weights) if self.params.weights else RANDOM_INITIALISATION

    def last_layer(self) -> nn.Conv2d:
        return self.fuse

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> (B, channels, ceil(H/4), ceil(W/4))."""
        inputs = pad_to(self._inputs(images), self.stride)
        maps: Tensor = self.fuse(torch.cat([column(inputs) for column in self.columns], dim=1))
        return maps.relu() if self.params.final_relu else maps

    def _inputs(self, images: Tensor) -> Tensor:
        if self.params.pixels == "bytes":
            return 255 * (grey(images) if self.params.channels == 1 else images)
        return standardise(images) if self.params.channels == 3 else (grey(images) - 0.45) / 0.225


def _column(channels: int, first: int, others: int, *features: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number, (wide, kernel) in enumerate(zip(features, (first, others, others, others), strict=True)):
        layers += [nn.Conv2d(channels, wide, kernel, padding=kernel // 2), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(2)] if number < 2 else []
        channels = wide
    return nn.Sequential(*layers)
