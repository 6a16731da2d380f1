"""Gaussians integrated over the cells of a grid: exact at any size of cell, and each dot weighs 1 at any border.

The integral of a two-dimensional Gaussian over a cell is the product of two one-dimensional ones, differences of the
normal CDF. With a row of them per dot, Gy (N, h) and Gx (N, w), the map of all dots is one matrix product, Gy^T Gx,
whatever their bandwidths. A kernel is divided by its mass inside the image: what the border cuts off comes back.

The scripts in common use filter the full image once per dot, truncate at 4 sigma and lose what the border cuts off."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from components.crowd import CELL, Window, cells

REACH = 8.0  # sigmas; what a Gaussian has beyond is below 1e-14, less than the product rounds


def cell_mass(centres: Tensor, sigmas: Tensor, extent: float, first: int, cells: int, side: int) -> Tensor:
    """The mass (N, cells) float64 of each Gaussian in cells [first * side, (first + cells) * side) of one axis.

    `centres` (N,) lie within [0, extent], `sigmas` (N,) are above 0, all in pixels. Each row is divided by its
    Gaussian's mass in [0, extent]. A cell counts only what it has of the extent: wholly outside, it gets 0."""
    edges = torch.arange(first, first + cells + 1, dtype=torch.float64, device=centres.device) * side
    edges = torch.cat([edges.clamp(0, extent), edges.new_tensor([0, extent])])
    # erf, not the CDF: centred on the dot it is exact to the last digit for sigmas far larger than the image
    below = torch.erf((edges - centres.double()[:, None]) / (sigmas.double()[:, None] * 2**0.5))
    inside = below[:, -1:] - below[:, -2:-1]
    return below[:, :-2].diff() / inside


def draw(
    dots: Tensor,
    sigmas: Tensor | float,
    size: tuple[int, int],
    side: int = CELL,
    window: Window | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """The density map (h, w) float32, people per cell of `side` pixels, of dots (N, 2) with bandwidths (N,) in pixels.

    With `weights` (N,), in which it is differentiable, a dot counts as so many people, and not as one.

    `size` is the (height, width) of the whole image, whose map sums to N. With a `window`, only that part is drawn, but
    from the dots of the whole image; its corner lies on the grid, and it may reach outside, where the map is 0."""
    view = window or Window(0, 0, *size)
    assert (view.top % side, view.left % side) == (0, 0), f"{view} does not start on the grid of {side} px"
    bandwidths = torch.as_tensor(sigmas, dtype=torch.float64, device=dots.device).expand(len(dots))
    near = _reaching(dots, bandwidths, view)
    dots, bandwidths = dots[near], bandwidths[near]
    rows = cell_mass(dots[:, 1], bandwidths, size[0], view.top // side, cells(view.height, side), side)
    rows = rows if weights is None else weights[near].double()[:, None] * rows
    columns = cell_mass(dots[:, 0], bandwidths, size[1], view.left // side, cells(view.width, side), side)
    return (rows.T @ columns).float()


def draw_within(
    dots: Tensor, sigmas: Tensor, size: tuple[int, int], region: np.ndarray | None, side: int = CELL
) -> Tensor:
    """The same for a whole image of which only a region counts: (h, w), the share of each cell.

    Every Gaussian is divided by its mass inside the region, so the map is 0 outside and still sums to N."""
    if region is None:
        return draw(dots, sigmas, size, side)
    shares = torch.from_numpy(region).double()
    rows = cell_mass(dots[:, 1], sigmas, size[0], 0, cells(size[0], side), side)
    columns = cell_mass(dots[:, 0], sigmas, size[1], 0, cells(size[1], side), side)
    inside = ((rows @ shares) * columns).sum(dim=1)
    return ((rows / inside[:, None]).T @ columns * shares).float()


def _reaching(dots: Tensor, sigmas: Tensor, view: Window) -> Tensor:
    """(N,) bool: the dots whose Gaussians reach into the window."""
    corner = dots.new_tensor([view.left, view.top])
    opposite = corner + dots.new_tensor([view.width, view.height])
    away = torch.maximum(corner - dots, dots - opposite).amax(dim=1)
    return away <= REACH * sigmas
