"""A mixture of Gaussians at every dot, whose shares a small network sets: attention per dot, before anything is drawn.

Ours. M = sum_i sum_j w_ij N(p_i, sigma_j), with w_i a softmax over k bandwidths of what the network makes of the dots
around dot i. Every Gaussian is integrated over cells and weighs 1 inside the image, or its region of interest, and the
shares of a dot add up to 1: each dot weighs 1 by construction, and no second loss holds the map to its count.

Trained jointly it flees to the widest Gaussian, because the smoothest map is the most predictable. By default it is
trained by what its map does to the counter's counts (`components/training/bilevel.py`). At the scale at which we tried
it, no map beat a fixed sigma of 4 to 8 px beyond noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from components.config.options import Optimiser, Options
from components.crowd import Batch, DensityMap, Window
from components.density_maps.gaussian import draw, weights_within

SCALES = (16, 32, 64, 128)  # pixels: how far around a dot others count; each twice the one before
HIDDEN = 16
START = 4.0  # pixels: the bandwidth around which the shares start


class Params(Options):
    """`training`: what the shares follow, the counting loss itself ("joint") or the counts of the counter after it
    learned from the map ("bilevel"). `update_every` counts epochs, in which the map learns or does not; `every` the
    steps of such an epoch, of which bilevel training looks ahead in the first, and then in each `every`-th."""

    sigmas: tuple[float, ...] = Field((1, 2, 4, 8, 16, 32), min_length=2, description="pixels")
    training: Literal["bilevel", "joint"] = "bilevel"
    every: int = Field(5, ge=1, description="steps from one update to the next, where training is bilevel")
    update_every: int = Field(1, ge=1, description="epochs")
    warm_up: int = Field(0, ge=0, description="steps alone towards the annotation map, before the counter starts")
    warm_up_lr: float = Field(1e-3, gt=0)
    optimiser: Optimiser = Optimiser(lr=1e-3)


def build(params: Params, stride: int, scale: float) -> Mixture:
    return Mixture(params, stride, scale)


class Mixture(DensityMap):
    """Dots in, maps (B, 1, h, w) out, in people per cell times `scale`."""

    def __init__(self, params: Params, stride: int, scale: float) -> None:
        super().__init__(params, stride, scale)
        self.looks_ahead = params.every if params.training == "bilevel" else None
        last = nn.Linear(HIDDEN, len(params.sigmas))
        nn.init.normal_(last.weight, std=0.01)
        last.bias = nn.Parameter(-2 * (torch.tensor(params.sigmas) / START).log2().abs())
        self.shares = nn.Sequential(nn.Linear(len(SCALES), HIDDEN), nn.ReLU(), last, nn.Softmax(dim=1))

    def forward(self, batch: Batch, windows: list[Window]) -> Tensor:
        """The maps of a batch at `windows`, (B, 1, h, w): those of the whole images, cut."""
        regions: Sequence[Tensor | None] = batch.regions or [None] * len(windows)
        seen = zip(batch.dots, batch.sizes, windows, regions, strict=True)
        return self.scale * torch.stack([self._draw(*each)[None] for each in seen])

    def _draw(self, dots: Tensor, size: tuple[int, int], window: Window, region: Tensor | None) -> Tensor:
        weights = self.shares(log_densities(dots)).flatten()
        sigmas = torch.tensor(self.params.sigmas, dtype=torch.float64, device=dots.device).repeat(len(dots))
        dots = dots.repeat_interleave(len(self.params.sigmas), dim=0)
        if region is not None:
            weights = weights * weights_within(dots, sigmas, size, region, self.stride)
        return draw(dots, sigmas, size, self.stride, window, weights)


def log_densities(dots: Tensor) -> Tensor:
    """(N, 2) -> (N, 4) float32: the logarithm of how many dots there are around each, itself among them.

    Others count by a Gaussian of their distance, as wide as `SCALES`; half as wide, it is the fourth power."""
    places = dots.float()
    nearness = (torch.cdist(places, places).square() / (-2 * SCALES[-1] ** 2)).exp()
    counts = [nearness.sum(dim=1)]
    for _ in SCALES[1:]:
        nearness = nearness.square().square()
        counts.append(nearness.sum(dim=1))
    return torch.stack(counts, dim=1).log()
