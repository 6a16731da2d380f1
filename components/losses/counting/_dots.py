"""The dots of a batch as the counter saw its crops: for losses that compare with dots, and not with a density map."""

from __future__ import annotations

import torch
from torch import Tensor

from components.crowd import Batch


def places(batch: Batch, index: int) -> tuple[Tensor, Tensor]:
    """All dots of one image in pixels of its crop, (N, 2) float64, and which of them the crop holds, (N,) bool.

    A mirrored crop has mirrored dots. Those outside the crop lie outside 0 to its width or height."""
    dots, window = batch.dots[index], batch.windows[index]
    moved = dots - dots.new_tensor([window.left, window.top])
    mirrored = moved * moved.new_tensor([-1, 1]) + moved.new_tensor([window.width, 0])
    _, inside = _pixels(batch, index)
    return torch.where(batch.flipped[index], mirrored, moved), inside


def dot_map(batch: Batch, index: int, stride: int) -> Tensor:
    """How many dots each cell of one crop holds, (h, w) float64. Mirrored, it is exactly that of the mirrored crop."""
    window = batch.windows[index]
    pixels, inside = _pixels(batch, index)
    columns, rows = (pixels[inside] // stride).unbind(dim=1)
    ones = torch.ones(len(rows), dtype=torch.float64, device=rows.device)
    counts = ones.new_zeros(window.height // stride, window.width // stride)
    counts.index_put_((rows, columns), ones, accumulate=True)
    return torch.where(batch.flipped[index], counts.flip(-1), counts)


def squared_distances(dots: Tensor, shape: tuple[int, int], stride: int) -> Tensor:
    """From dots (N, 2) to the centres of the cells of a grid (h, w), row by row: (N, h * w), in pixels squared."""
    rows, columns = (stride * (torch.arange(side, device=dots.device) + 0.5) for side in shape)
    down, across = (rows - dots[:, 1:]).square(), (columns - dots[:, :1]).square()
    return (down[:, :, None] + across[:, None, :]).flatten(1)


def _pixels(batch: Batch, index: int) -> tuple[Tensor, Tensor]:
    """The pixel (N, 2) of each dot within the crop, never mirrored, and whether the crop holds it.

    A dot on the image's far edge belongs to the last pixel."""
    dots, window, (height, width) = batch.dots[index], batch.windows[index], batch.sizes[index]
    last = dots.new_tensor([width - 1, height - 1])
    pixels = torch.minimum(dots.floor(), last) - dots.new_tensor([window.left, window.top])
    inside = (pixels >= 0).all(dim=1) & (pixels < dots.new_tensor([window.width, window.height])).all(dim=1)
    return pixels.long(), inside
