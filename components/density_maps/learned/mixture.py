"""A mixture of Gaussians at every dot, weighted by a small network: attention per dot, before anything is drawn.

Not from a paper. M = sum_i sum_j w_ij N(p_i, sigma_j), with w_i the softmax over k bandwidths that a network computes
from the density of dots around dot i. Every Gaussian is integrated over cells and has mass 1 inside the image, or its
region of interest, and the weights of a dot sum to 1: each dot counts 1 by construction, without a second loss.

Trained jointly the mixture moves to the widest Gaussian, because the smoothest map is the easiest to predict. By
default it is trained by its map's effect on the counter's counts (`components/training/bilevel.py`). In small
experiments no map was measurably better than a fixed sigma of 4 to 8 px."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from components.config.options import Optimiser, Options
from components.crowd import Crop, DensityMap
from components.density_maps.gaussian import draw, weights_within

SCALES = (16, 32, 64, 128)  # pixels: bandwidths of the densities around a dot; each is twice the one before
HIDDEN = 16  # features of the network's hidden layer
INITIAL_SIGMA = 4.0  # pixels: before training, the bandwidth with the largest weight


class Params(Options):
    """`training`: whether the weights follow the counting loss itself ("joint"), or the error of the counts that the
    counter makes after a step of learning from the map ("bilevel"). The map learns in each `update_every`-th epoch;
    bilevel training then updates it in the first step, and in each `every`-th after that."""

    sigmas: tuple[float, ...] = Field((1, 2, 4, 8, 16, 32), min_length=2, description="pixels")
    training: Literal["bilevel", "joint"] = "bilevel"
    every: int = Field(5, ge=1, description="steps between two updates of bilevel training")
    update_every: int = Field(1, ge=1, description="epochs")
    warm_up: int = Field(0, ge=0, description="steps alone towards the annotation map, before the counter starts")
    warm_up_lr: float = Field(1e-3, gt=0)
    optimiser: Optimiser = Optimiser(lr=1e-3)


def build(params: Params, stride: int, scale: float) -> Mixture:
    return Mixture(params, stride, scale)


class Mixture(DensityMap):
    """Makes maps of dots; `shares` is the network that weights the bandwidths of each dot."""

    def __init__(self, params: Params, stride: int, scale: float) -> None:
        super().__init__(params, stride, scale)
        self.bilevel_every = params.every if params.training == "bilevel" else None
        last = nn.Linear(HIDDEN, len(params.sigmas))
        nn.init.normal_(last.weight, std=0.01)
        last.bias = nn.Parameter(-2 * (torch.tensor(params.sigmas) / INITIAL_SIGMA).log2().abs())
        self.shares = nn.Sequential(nn.Linear(len(SCALES), HIDDEN), nn.ReLU(), last, nn.Softmax(dim=1))

    def forward(self, crops: Sequence[Crop]) -> Tensor:
        """The maps of crops, (B, 1, h, w) people per cell times `scale`: each equals the whole image's map, cut."""
        return self.scale * torch.stack([self._draw(crop)[None] for crop in crops])

    def _draw(self, crop: Crop) -> Tensor:
        """The map of one crop, (h, w) people per cell: each dot counts as one Gaussian for each bandwidth."""
        weights = self.shares(log_densities(crop.dots)).flatten()
        sigmas = torch.tensor(self.params.sigmas, dtype=torch.float64, device=crop.dots.device).repeat(len(crop.dots))
        dots = crop.dots.repeat_interleave(len(self.params.sigmas), dim=0)
        if crop.region is not None:
            weights = weights * weights_within(dots, sigmas, crop.size, crop.region, self.stride)
        return draw(dots, sigmas, crop.size, self.stride, crop.window, weights)


def log_densities(dots: Tensor) -> Tensor:
    """The logarithm of the number of dots around each dot (N, 2), itself included: (N, 4) float32.

    Dots are weighted by a Gaussian of their distance with each bandwidth of `SCALES`. The Gaussian of half the
    bandwidth is the fourth power, so each scale follows from the one before."""
    positions = dots.float()
    nearness = (torch.cdist(positions, positions).square() / (-2 * SCALES[-1] ** 2)).exp()
    counts = [nearness.sum(dim=1)]
    for _ in SCALES[1:]:
        nearness = nearness.square().square()
        counts.append(nearness.sum(dim=1))
    return torch.stack(counts, dim=1).log()
