"""Gaussians integrated over the cells of a grid: exact at any size of cell, and each dot counts 1 at any border.

The integral of a two-dimensional Gaussian over a cell is the product of two one-dimensional ones, differences of the
normal CDF. With a row of them per dot, Gy (N, h) and Gx (N, w), the map of all dots is one matrix product, Gy^T Gx,
whatever their bandwidths. A kernel is divided by its mass inside the image, which makes up for what the border cuts
off. The border of a region of interest is treated alike: outside nothing counts, and a person inside counts 1 inside.

The scripts in common use filter the full image once per dot, truncate at 4 sigma and lose what the border cuts off."""

from __future__ import annotations

import torch
from torch import Tensor

from components.crowd import CELL, Window, cell_count

MIN_MASS = 1e-6  # the smallest mass that is divided by: a dot without mass in its region stays at 0 people, not 0/0
REACH = 8.0  # sigmas; the mass beyond is below 1e-14, less than the rounding of the product


def cell_mass(centres: Tensor, sigmas: Tensor, extent: float, first: int, count: int, side: int) -> Tensor:
    """The mass (N, count) float64 of each Gaussian in cells [first * side, (first + count) * side) of one axis.

    `centres` (N,) lie within [0, extent], `sigmas` (N,) are above 0, all in pixels. Each row is divided by its
    Gaussian's mass in [0, extent]. Only the part of a cell inside the extent counts: a cell wholly outside gets 0."""
    edges = torch.arange(first, first + count + 1, dtype=torch.float64, device=centres.device) * side
    edges = torch.cat([edges.clamp(0, extent), edges.new_tensor([0, extent])])
    # erf, not the CDF: it is centred on the dot, and so exact to the last digit for sigmas far larger than the image
    below = torch.erf((edges - centres.double()[:, None]) / (sigmas.double()[:, None] * 2**0.5))
    return below[:, :-2].diff() / (below[:, -1:] - below[:, -2:-1])


def draw(
    dots: Tensor,
    sigmas: Tensor | float,
    size: tuple[int, int],
    side: int = CELL,
    window: Window | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """The density map (h, w) float32, people per cell of `side` pixels, of dots (N, 2) with bandwidths (N,) in pixels.

    With `weights` (N,) a dot counts as its weight instead of 1; the map is differentiable in them.

    `size` is the (height, width) of the whole image, whose map sums to N. With a `window`, only that part is drawn,
    from all dots of the image; its corner lies on the grid, and it may reach outside, where the map is 0."""
    view = window or Window(0, 0, *size)
    assert (view.top % side, view.left % side) == (0, 0), f"{view} does not start on the grid of {side} px"
    bandwidths = torch.as_tensor(sigmas, dtype=torch.float64, device=dots.device).expand(len(dots))
    near = _reaching(dots, bandwidths, view)
    dots, bandwidths = dots[near], bandwidths[near]
    rows = cell_mass(dots[:, 1], bandwidths, size[0], view.top // side, cell_count(view.height, side), side)
    rows = rows if weights is None else weights[near].double()[:, None] * rows
    columns = cell_mass(dots[:, 0], bandwidths, size[1], view.left // side, cell_count(view.width, side), side)
    return (rows.T @ columns).float()


def weights_within(
    dots: Tensor, sigmas: Tensor | float, size: tuple[int, int], region: Tensor, side: int = CELL
) -> Tensor:
    """The weights (N,) float64 that give each dot (N, 2) a mass of 1 inside a region of interest.

    `region` (h, w) is the share of each cell of the whole image that lies in it."""
    bandwidths = torch.as_tensor(sigmas, dtype=torch.float64, device=dots.device).expand(len(dots))
    rows = cell_mass(dots[:, 1], bandwidths, size[0], 0, cell_count(size[0], side), side)
    columns = cell_mass(dots[:, 0], bandwidths, size[1], 0, cell_count(size[1], side), side)
    return 1 / ((rows @ region.double()) * columns).sum(dim=1).clamp(min=MIN_MASS)


def draw_within(dots: Tensor, sigmas: Tensor, size: tuple[int, int], region: Tensor | None, side: int = CELL) -> Tensor:
    """The map of a whole image, 0 outside its region of interest; it sums to N, as each dot has mass 1 inside."""
    if region is None:
        return draw(dots, sigmas, size, side)
    return draw(dots, sigmas, size, side, weights=weights_within(dots, sigmas, size, region, side)) * region


def _reaching(dots: Tensor, sigmas: Tensor, view: Window) -> Tensor:
    """(N,) bool: the dots whose Gaussians reach into the window."""
    corner = dots.new_tensor([view.left, view.top])
    opposite = corner + dots.new_tensor([view.width, view.height])
    distances = torch.maximum(corner - dots, dots - opposite).amax(dim=1)
    return distances <= REACH * sigmas
