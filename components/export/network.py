"""What an exported network computes: from pixels to people per cell, with nothing left for others to know or to do."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from components.counters.shared.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from components.runs.folder import Weights
from components.runs.predictor import _networks

Inputs = Literal["uint8", "imagenet"]


class CountingNetwork(nn.Module):
    """(1, 3, H, W) RGB -> (1, 1, ceil(H / stride), ceil(W / stride)) float32 people per cell, whose sum is the count.

    `inputs`: "uint8" takes pixels as they are, 0-255; "imagenet" takes float32 that were divided by 255, less
    ImageNet's mean and over its standard deviation, channel by channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Weights, inputs: Inputs = "uint8") -> None:
        super().__init__()
        self.counter, self._loss = _networks(weights)
        self.inputs, self.scale, self.stride = inputs, weights.metadata["scale"], self.counter.stride
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        pixels = images * self.std + self.mean if self.inputs == "imagenet" else images.float() / 255
        people: Tensor = self._loss.people(self.counter(pixels)) / self.scale
        return people
