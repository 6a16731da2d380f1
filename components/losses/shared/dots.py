"""The dots of a batch as the counter saw its crops: for losses that compare with dots, and not with a density map."""

from __future__ import annotations

import torch
from torch import Tensor

from components.crowd import Batch, cells_of, dot_map


def places(batch: Batch, index: int) -> tuple[Tensor, Tensor]:
    """All dots of one image in pixels of its crop, (N, 2) float64, and which of them the crop holds, (N,) bool.

    A mirrored crop has mirrored dots. Those outside the crop lie outside 0 to its width or height."""
    dots, window = batch.dots[index], batch.windows[index]
    moved = dots - dots.new_tensor([window.left, window.top])
    mirrored = moved * moved.new_tensor([-1, 1]) + moved.new_tensor([window.width, 0])
    pixels = cells_of(dots, batch.sizes[index], 1) - dots.new_tensor([window.left, window.top]).long()
    inside = (pixels >= 0) & (pixels < dots.new_tensor([window.width, window.height]))
    return torch.where(batch.flipped[index], mirrored, moved), inside.all(dim=1)


def counted(batch: Batch, index: int, stride: int) -> Tensor:
    """How many dots each cell of one crop holds, (h, w). Mirrored, it is exactly that of the mirrored crop."""
    counts = dot_map(batch.dots[index], batch.sizes[index], batch.windows[index], stride)
    return torch.where(batch.flipped[index], counts.flip(-1), counts)


def squared_distances(dots: Tensor, shape: tuple[int, int], stride: int) -> Tensor:
    """From dots (N, 2) to the centres of the cells of a grid (h, w), row by row: (N, h * w), in pixels squared."""
    rows, columns = (stride * (torch.arange(side, device=dots.device) + 0.5) for side in shape)
    down, across = (rows - dots[:, 1:]).square(), (columns - dots[:, :1]).square()
    return (down[:, :, None] + across[:, None, :]).flatten(1)
