"""Gaussians integrated over the cells of a grid: exact at any size of cell, and each dot weighs 1 at any border.

The integral of a two-dimensional Gaussian over a cell is the product of two one-dimensional ones, differences of the
normal CDF. With a row of them per dot, Gy (N, h) and Gx (N, w), the map of all dots is one matrix product, Gy^T Gx,
whatever their bandwidths. A kernel is divided by its mass inside the image: what the border cuts off comes back. The
border of a region of interest cuts off as much: beyond it nothing counts, and a person inside weighs 1 inside.

The scripts in common use filter the full image once per dot, truncate at 4 sigma and lose what the border cuts off."""

from __future__ import annotations

import torch
from torch import Tensor

from components.crowd import CELL, Window, cells

TINY = 1e-6  # the least mass that is made up for: a dot of which a region has nothing stays nothing, and no 0/0
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


def weights_within(
    dots: Tensor, sigmas: Tensor | float, size: tuple[int, int], region: Tensor, side: int = CELL
) -> Tensor:
    """As how many people each dot (N, 2) counts, (N,) float64, for 1 of it to lie in a region of the whole image:
    (h, w), the share of each cell that counts."""
    bandwidths = torch.as_tensor(sigmas, dtype=torch.float64, device=dots.device).expand(len(dots))
    rows = cell_mass(dots[:, 1], bandwidths, size[0], 0, cells(size[0], side), side)
    columns = cell_mass(dots[:, 0], bandwidths, size[1], 0, cells(size[1], side), side)
    return 1 / ((rows @ region.double()) * columns).sum(dim=1).clamp(min=TINY)


def draw_within(dots: Tensor, sigmas: Tensor, size: tuple[int, int], region: Tensor | None, side: int = CELL) -> Tensor:
    """What counts of the map of a whole image: 0 outside the region, and in sum N, as each dot weighs 1 inside."""
    if region is None:
        return draw(dots, sigmas, size, side)
    return draw(dots, sigmas, size, side, weights=weights_within(dots, sigmas, size, region, side)) * region


def _reaching(dots: Tensor, sigmas: Tensor, view: Window) -> Tensor:
    """(N,) bool: the dots whose Gaussians reach into the window."""
    corner = dots.new_tensor([view.left, view.top])
    opposite = corner + dots.new_tensor([view.width, view.height])
    away = torch.maximum(corner - dots, dots - opposite).amax(dim=1)
    return away <= REACH * sigmas
