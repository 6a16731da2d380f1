"""Bayesian loss: Ma, Wei, Hong & Gong, "Bayesian Loss for Crowd Count Estimation with Point Supervision", ICCV 2019.

Each cell's people are shared out among the dots by the posterior p(y_n | x_m), a softmax over Gaussians around the
dots, and each dot should be given one person: sum_n |1 - E[c_n]| + |0 - E[c_0]|. The last term is the paper's
Bayesian+: cell x_m has a background point of its own, d pixels from the nearest dot z in its own direction, and so at
the distance |d - ||x_m - z|||. Without it every cell, however far, belongs to people.

The 8 px of sigma are for large pictures. A person wholly on the own dot still loses to the background what the counter
then makes up for by 1 + exp(-d^2 / 2 sigma^2): 1 % too many for d = 3 sigma, 20 % for 1.8 (crops of 96 px). Lower sigma
there.

The paper does not say what happens at the border of a crop. Here all dots of the image take part, so that each cell is
shared out as on the whole image, and a person outside the crop claims what belongs to them; their own count in the crop
should be 0, as a dot's person is where the dot is. So all that should be counted is the number of dots in the crop.

The loss is linear in the prediction between its kinks: cells below zero count as they are, and have a gradient."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from components.config.options import Options
from components.crowd import Batch
from components.losses.shared.dots import places, squared_distances


class Params(Options):
    sigma: float = Field(8.0, gt=0, description="pixels of the prepared image")
    background: float | None = Field(0.15, gt=0, description="d in shorter sides of the crop; none: no background")


def build(params: Params, stride: int, scale: float) -> BayesianLoss:
    return BayesianLoss(params, stride, scale)


class BayesianLoss:
    """Reads dots alone."""

    drawn = False
    title = "Bayesian loss"

    def __init__(self, params: Params, stride: int, scale: float) -> None:
        self.params, self.stride, self.scale = params, stride, scale

    def __call__(self, predicted: Tensor, maps: Tensor | None, batch: Batch) -> Tensor:
        people = predicted[:, 0] / self.scale
        return torch.stack([self._loss(each, *places(batch, index)) for index, each in enumerate(people)])

    def _loss(self, people: Tensor, dots: Tensor, inside: Tensor) -> Tensor:
        """From people per cell (h, w), dots (N, 2) and which of them the crop holds. Without dots all is background."""
        if not len(dots):
            return people.sum().abs()
        expected = self.posterior(dots, people.shape).to(people) @ people.flatten()
        wanted = expected.new_zeros(len(expected))
        wanted[: len(dots)] = inside.to(expected)
        return (wanted - expected).abs().sum()

    def posterior(self, dots: Tensor, shape: torch.Size) -> Tensor:
        """The share of each dot (N, 2), and last of the background, in each cell of a grid (h, w): (N + 1, h * w)."""
        squared = squared_distances(dots, (shape[0], shape[1]), self.stride)
        if self.params.background is not None:
            margin = self.params.background * self.stride * min(shape)
            squared = torch.cat([squared, (margin - squared.amin(dim=0, keepdim=True).sqrt()).square()])
        return (squared / (-2 * self.params.sigma**2)).softmax(dim=0)
