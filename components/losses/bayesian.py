"""Bayesian loss: Ma, Wei, Hong & Gong, "Bayesian Loss for Crowd Count Estimation with Point Supervision", ICCV 2019.

The people of each cell are divided among the dots by the posterior p(y_n | x_m), a softmax over Gaussians around the
dots, and each dot should get one person: sum_n |1 - E[c_n]| + |0 - E[c_0]|. The last term is the paper's Bayesian+:
cell x_m has a background point of its own, d pixels from the nearest dot z in the cell's direction, and so at the
distance |d - ||x_m - z|||. Without it every cell, however far from all dots, belongs to people.

A sigma of 8 px suits large images. Even a cell at its dot loses a share to the background, and the counter makes up for
it with a factor of 1 + exp(-d^2 / 2 sigma^2): it counts 1 % too many for d = 3 sigma, 20 % for 1.8 (crops of 96 px).
Lower sigma for small crops.

The paper does not treat the border of a crop. Here all dots of the image take part, so that each cell is divided as on
the whole image, and a person outside the crop takes their share; the target count of that person in the crop is 0, as a
dot's person is where the dot is. So the target counts sum to the number of dots in the crop.

The loss is linear in the prediction between its kinks: cells below zero count as they are, and have a gradient."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from components.config.options import Options
from components.crowd import Crop
from components.losses.shared.dots import dots_in_crop, squared_distances
from components.losses.shared.dots_loss import DotsLoss


class Params(Options):
    sigma: float = Field(8.0, gt=0, description="pixels of the prepared image")
    background: float | None = Field(
        0.15, gt=0, description="d as a fraction of the crop's shorter side; none: no background"
    )


def build(params: Params, stride: int, scale: float) -> BayesianLoss:
    return BayesianLoss(params, stride, scale)


class BayesianLoss(DotsLoss[Params]):
    """Compares with dots alone."""

    title = "Bayesian loss"

    def crop_loss(self, people: Tensor, crop: Crop) -> Tensor:
        """The loss of people per cell (h, w). Without dots all cells are background."""
        dots, inside = dots_in_crop(crop)
        if not len(dots):
            return people.sum().abs()
        expected = self.posterior(dots, people.shape).to(people) @ people.flatten()
        target = expected.new_zeros(len(expected))
        target[: len(dots)] = inside.to(expected)
        return (target - expected).abs().sum()

    def posterior(self, dots: Tensor, shape: torch.Size) -> Tensor:
        """The share of each dot (N, 2), and last of the background, in each cell of a grid (h, w): (N + 1, h * w)."""
        squared = squared_distances(dots, (shape[0], shape[1]), self.stride)
        if self.params.background is not None:
            margin = self.params.background * self.stride * min(shape)
            squared = torch.cat([squared, (margin - squared.amin(dim=0, keepdim=True).sqrt()).square()])
        return (squared / (-2 * self.params.sigma**2)).softmax(dim=0)
