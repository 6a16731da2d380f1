"""Kinds of counting losses: a file says how far the counter's map is from what it should have counted."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from components.crowd import Batch


class CountingLoss(Protocol):
    """What `build(Params, stride, scale)` of a file in this folder returns; `scale` is the target scale.

    `drawn`: whether the loss compares with a density map. One that reads the dots alone gets no map, and no density
    map is made or trained for it. `title`: its name in tables."""

    drawn: bool
    title: str

    def __call__(self, predicted: Tensor, maps: Tensor | None, batch: Batch) -> Tensor:
        """The loss of each image, (B,). `predicted` and `maps` (B, 1, h, w) are people per cell of `stride` pixels
        times `scale`, on the crops as the counter saw them: mirrored where `batch.flipped` says so."""
