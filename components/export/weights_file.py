"""A run's counter as one weights file, in half precision if wanted: dotfield's own format, `.safetensors`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from components.export.check import HALF_TOLERANCE, TOLERANCE, Density
from components.runs.folder import Weights, read_weights, write_weights
from components.runs.predictor import load_predictor

CARD = "card"  # the key of the metadata under which the facts of the model card stand


@dataclass(frozen=True)
class WeightsFile:
    """The counter's tensors, without a density map's, and the run's metadata. `components.runs.predictor` counts with
    it in single precision."""

    half: bool

    @property
    def kind(self) -> str:
        return f"weights in {'half' if self.half else 'single'} precision"

    @property
    def tolerance(self) -> float:
        return HALF_TOLERANCE if self.half else TOLERANCE

    @property
    def flags(self) -> str:
        return " --half" if self.half else ""

    def usage(self, name: str, longest_side: int | None) -> str:
        return f"`dotfield.load({name!r}).count('photo.jpg')`"

    def write(self, file: Path, weights: Weights) -> None:
        tensors = {name: each for name, each in weights.tensors.items() if name.startswith("counter.")}
        if self.half:
            tensors = {name: _to_half(each) for name, each in tensors.items()}
        write_weights(file, tensors, weights.metadata)

    def open(self, file: Path) -> Density:
        return load_predictor(file).density

    def embed(self, file: Path, facts: dict[str, Any]) -> None:
        """Add the facts of the model card to the file's metadata."""
        weights = read_weights(file)
        write_weights(file, weights.tensors, weights.metadata | {CARD: facts})


def _to_half(tensor: Tensor) -> Tensor:
    """float16, unless a number of it would become infinite (above 65,504), or it holds no floating point numbers; or it
    is a layer's biases: of few bytes, and their rounding shifts every cell."""
    if not tensor.is_floating_point() or tensor.ndim < 2:
        return tensor
    half = tensor.to(torch.float16)
    return half if bool(half.isfinite().all()) else tensor
