"""What an exported network computes: from pixels to people per cell, with nothing left for others to know or to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as symbolic_shapes

from components.counters.shared.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from components.export.check import TOLERANCE
from components.runs.folder import Weights
from components.runs.predictor import build_networks

Inputs = Literal["uint8", "imagenet"]
IMAGES, PEOPLE = "images", "people"  # names of the input and the output
TRACED = (97, 131)  # height and width of the image that is traced: odd, and no whole number of cells


@dataclass(frozen=True)
class NetworkFormat:
    """What the formats of networks share: what they take, how far counts may differ, and the command's options."""

    inputs: Inputs
    tolerance: float = TOLERANCE

    @property
    def flags(self) -> str:
        return "" if self.inputs == "uint8" else f" --input {self.inputs}"


class CountingNetwork(nn.Module):
    """(1, 3, H, W) RGB -> (1, 1, ceil(H / stride), ceil(W / stride)) float32 people per cell, whose sum is the count.

    `inputs`: "uint8" takes pixels as they are, 0-255; "imagenet" takes float32 that were divided by 255, less
    ImageNet's mean and over its standard deviation, channel by channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Weights, inputs: Inputs = "uint8") -> None:
        super().__init__()
        self.counter, self._loss = build_networks(weights)
        self.inputs, self.scale = inputs, weights.metadata["scale"]
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        pixels = images * self.std + self.mean if self.inputs == "imagenet" else images.float() / 255
        people: Tensor = self._loss.people(self.counter(pixels)) / self.scale
        return people


def input_words(inputs: Inputs, longest_side: int | None) -> str:
    """What a network takes and gives, in words; `longest_side` is that of its training images in pixels, if bounded."""
    pixels = "uint8, RGB" if inputs == "uint8" else f"float32, (RGB / 255 - {IMAGENET_MEAN}) / {IMAGENET_STD}"
    bound = f", scaled down to at most {longest_side} px a side," if longest_side else ""
    return f"with images (1, 3, H, W) {pixels}{bound} gives people per cell (1, 1, h, w), whose sum is the count"


def network_input(image: np.ndarray, inputs: Inputs) -> np.ndarray:
    """An image (H, W, 3) uint8 RGB as the network takes it: (1, 3, H, W)."""
    if inputs == "imagenet":
        mean, std = (np.array(values, np.float32) for values in (IMAGENET_MEAN, IMAGENET_STD))
        image = (image.astype(np.float32) / 255 - mean) / std
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def trace(weights: Weights, inputs: Inputs) -> ExportedProgram:
    """The network as a program for images of any height and width.

    How the traced image's size differs from others (its cells do not fill it, none of its sides is a single cell)
    becomes assertions of the program, though it computes the same for all of them; they are taken out, and whoever
    exports compares sizes. `backed_size_oblivious` keeps torch from drawing conclusions from the size in the first
    place."""
    network = CountingNetwork(weights, inputs)
    example = torch.from_numpy(network_input(np.zeros((*TRACED, 3), np.uint8), inputs))
    any_size = {IMAGES: {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}}
    with torch.no_grad(), symbolic_shapes.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        program = torch.export.export(
            network, (example,), dynamic_shapes=any_size, prefer_deferred_runtime_asserts_over_guards=True
        )
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program
