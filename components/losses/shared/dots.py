"""The dots of crops as the counter saw them, for losses that compare with dots instead of a density map."""

from __future__ import annotations

import torch
from torch import Tensor

from components.crowd import Crop, cells_of, dot_map


def dots_in_crop(crop: Crop) -> tuple[Tensor, Tensor]:
    """All dots of the image in pixels of the crop, (N, 2) float64, and which of them lie in the crop, (N,) bool.

    In a mirrored crop the dots are mirrored. Those outside the crop lie outside 0 to its width or height."""
    dots, window = crop.dots, crop.window
    moved = dots - dots.new_tensor([window.left, window.top])
    pixels = cells_of(dots, crop.size, 1) - dots.new_tensor([window.left, window.top]).long()
    inside = ((pixels >= 0) & (pixels < dots.new_tensor([window.width, window.height]))).all(dim=1)
    if crop.flipped:
        moved = moved * moved.new_tensor([-1, 1]) + moved.new_tensor([window.width, 0])
    return moved, inside


def dot_counts(crop: Crop, stride: int) -> Tensor:
    """The number of dots in each cell of a crop, (h, w), mirrored where the crop is."""
    counts = dot_map(crop.dots, crop.size, crop.window, stride)
    return counts.flip(-1) if crop.flipped else counts


def squared_distances(dots: Tensor, shape: tuple[int, int], stride: int) -> Tensor:
    """From dots (N, 2) to the centres of the cells of a grid (h, w), row by row: (N, h * w), in pixels squared."""
    rows, columns = (stride * (torch.arange(side, device=dots.device) + 0.5) for side in shape)
    vertical, horizontal = (rows - dots[:, 1:]).square(), (columns - dots[:, :1]).square()
    return (vertical[:, :, None] + horizontal[:, None, :]).flatten(1)
