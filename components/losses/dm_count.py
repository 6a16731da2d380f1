"""DM-Count: Wang, Liu, Samaras & Hoai, "Distribution Matching for Crowd Counting", NeurIPS 2020.

| |f(X)| - |D| |  +  0.1 W(f(X) / |f(X)|, D / |D|)  +  0.01 |D| TV(f(X) / |f(X)|, D / |D|)

W is optimal transport from the centres of the cells to the dots, at the squared distance in pixels, smoothed by an
entropy (relative to the product of both distributions); TV, the total variation, compares cells. The gradient of W in
the prediction is its dual potential, as in the paper: the potentials are computed without a gradient.

The paper predicts with a final ReLU; the counters here may go below zero. The count is the sum of all cells, as in
evaluation; the distributions are those of the positive part, in which cells below zero may be raised but not lowered.
A prediction of less than one person in all is no distribution yet, and an image without dots never has one: there only
the count matters, with one gradient for all cells, so training recovers from predictions that are negative everywhere.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from components.config.options import Options
from components.crowd import Crop
from components.losses.shared.dots import dot_counts, dots_in_crop, squared_distances
from components.losses.shared.dots_loss import DotsLoss
from components.losses.shared.transport import potentials
from components.networks import positive_part


class Params(Options):
    transport: float = Field(0.1, ge=0, description="weight of optimal transport")
    variation: float = Field(0.01, ge=0, description="weight of total variation, per person")
    entropy: float = Field(10.0, gt=0, description="weight of the entropy in optimal transport, pixels squared")
    iterations: int = Field(100, ge=1, description="of Sinkhorn's algorithm")


def build(params: Params, stride: int, scale: float) -> DMCount:
    return DMCount(params, stride, scale)


class DMCount(DotsLoss[Params]):
    """Compares with dots alone."""

    title = "DM-Count"

    def crop_loss(self, people: Tensor, crop: Crop) -> Tensor:
        """The loss of one crop from its people per cell (h, w)."""
        counts = dot_counts(crop, self.stride).to(people)
        truth = counts.sum()
        positive = positive_part(people)
        error: Tensor = (people.sum() - truth).abs()
        if truth == 0 or positive.sum() < 1:
            return error
        shares = positive / positive.sum()
        dots, inside = dots_in_crop(crop)
        variation = truth * (shares - counts / truth).abs().sum() / 2
        return error + self.params.transport * self.transport(shares, dots[inside]) + self.params.variation * variation

    def transport(self, shares: Tensor, dots: Tensor) -> Tensor:
        """W between shares (h, w), which sum to 1, and dots (N, 2) of equal weight, in pixels squared."""
        costs = squared_distances(dots, (shares.shape[0], shares.shape[1]), self.stride).to(shares)
        cell_potentials, dot_potentials = potentials(
            costs, shares.detach().flatten(), self.params.entropy, self.params.iterations
        )
        return cell_potentials @ shares.flatten() + dot_potentials.mean()
