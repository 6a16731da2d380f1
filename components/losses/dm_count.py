"""DM-Count: Wang, Liu, Samaras & Hoai, "Distribution Matching for Crowd Counting", NeurIPS 2020.

| |f(X)| - |D| |  +  0.1 W(f(X) / |f(X)|, D / |D|)  +  0.01 |D| TV(f(X) / |f(X)|, D / |D|)

W is optimal transport from the centres of the cells to the dots, at the squared distance in pixels, made smooth by an
entropy (relative to the product of both distributions); TV, the total variation, compares cells. The gradient of W in
the prediction is its dual potential, as in the paper: the potentials are found without a gradient.

The paper predicts with a final ReLU; our counters may go below zero. The count is that of all cells, as in evaluation;
the distributions are of the positive part, in which cells below zero may be pulled up but not further down. A
prediction that holds less than one person is not yet a distribution, and an image without dots never is one: only its
count matters, with one gradient for all cells, so that training recovers from predictions that are negative everywhere.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from components.config.options import Options
from components.crowd import Batch
from components.losses.shared.dots import counted, places, squared_distances
from components.losses.shared.transport import potentials


class Params(Options):
    transport: float = Field(0.1, ge=0, description="weight of optimal transport")
    variation: float = Field(0.01, ge=0, description="weight of total variation, per person")
    entropy: float = Field(10.0, gt=0, description="weight of the entropy in optimal transport, pixels squared")
    iterations: int = Field(100, ge=1, description="of Sinkhorn's algorithm")


def build(params: Params, stride: int, scale: float) -> DMCount:
    return DMCount(params, stride, scale)


class DMCount:
    """Reads dots alone."""

    drawn = False
    title = "DM-Count"

    def __init__(self, params: Params, stride: int, scale: float) -> None:
        self.params, self.stride, self.scale = params, stride, scale

    def __call__(self, predicted: Tensor, maps: Tensor | None, batch: Batch) -> Tensor:
        people = predicted[:, 0] / self.scale
        return torch.stack([self._loss(each, batch, index) for index, each in enumerate(people)])

    def _loss(self, people: Tensor, batch: Batch, index: int) -> Tensor:
        """The loss of one crop from its people per cell (h, w)."""
        counts = counted(batch, index, self.stride).to(people)
        truth, held = counts.sum(), _Positive.apply(people)
        error = (people.sum() - truth).abs()
        if truth == 0 or held.sum() < 1:
            return error
        shares = held / held.sum()
        dots, inside = places(batch, index)
        variation = truth * (shares - counts / truth).abs().sum() / 2
        return error + self.params.transport * self.transport(shares, dots[inside]) + self.params.variation * variation

    def transport(self, shares: Tensor, dots: Tensor) -> Tensor:
        """W between shares (h, w) of one person and dots (N, 2) of equal weight, in pixels squared."""
        costs = squared_distances(dots, (shares.shape[0], shares.shape[1]), self.stride).to(shares)
        of_cells, of_dots = potentials(costs, shares.detach().flatten(), self.params.entropy, self.params.iterations)
        return of_cells @ shares.flatten() + of_dots.mean()


class _Positive(torch.autograd.Function):
    """max(x, 0), in whose gradient descent moves a value below zero up, and never further down."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        context.save_for_backward(values)
        return values.clamp(min=0)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        [values] = context.saved_tensors
        return torch.where((values > 0) | (gradient < 0), gradient, 0)
