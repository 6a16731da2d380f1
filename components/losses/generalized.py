"""Generalized loss: Wan, Liu & Chan, "A Generalized Loss Function for Crowd Counting and Localization", CVPR 2021.

Unbalanced optimal transport (`components/losses/shared/unbalanced_transport.py`) between the predicted cells and the
dots of the crop, plus 0.1 times what the best plan P leaves over on both sides:

    W(a)  +  0.1 (sum_i (a_i - sum_j P_ij)^2  +  sum_j |1 - sum_i P_ij|).

The cost of a person d away is exp(d / (0.5 + 0.2 y)) - 1, where d is a fraction of the crop's longer side and y, the
mean height of cell and dot, a fraction of the crop's height: 0 at its top, where people are far from the camera and
small, so that a distance in pixels costs more. (The crops of the paper are square.)

The squared error and the Bayesian loss are the two terms behind W for other plans: a density map cut into its kernels
leaves nothing over at the dots, and the posterior of the Bayesian loss nothing at the cells.

As in the authors' code, the plan is found by Kullback-Leibler divergences and is a constant for the two terms: the
cells' term follows a_i with sum_j P_ij fixed, the dots' term P_ij = a_i s_ij with the shares s_ij fixed. Other than
there, W has its exact gradient, entropy included, and an unserved dot pulls with a bounded force (LEAST_RECEIVED);
cells lie at their centres, and not half a cell down and to the right.

The authors' network ends with an absolute value. Here people are the positive part of the counter's output, in training
and in counting; cells below zero are raised where people are wanted, and never lowered."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from components.config.options import Options
from components.crowd import Crop
from components.losses.shared.dots import dots_in_crop, squared_distances
from components.losses.shared.dots_loss import DotsLoss
from components.losses.shared.unbalanced_transport import unbalanced_potentials
from components.networks import positive_part


class Params(Options):
    blur: float = Field(0.01, gt=0, description="weight of the entropy, in units of cost")
    reach: float = Field(0.5, gt=0, description="weight of the divergences: farther than this costs more than to miss")
    remainder: float = Field(0.1, ge=0, description="weight of what the plan leaves over")
    iterations: int = Field(40, ge=1, description="of Sinkhorn's algorithm")


def build(params: Params, stride: int, scale: float) -> GeneralizedLoss:
    return GeneralizedLoss(params, stride, scale)


class GeneralizedLoss(DotsLoss[Params]):
    """Compares with dots alone."""

    title = "generalized loss"

    def people(self, outputs: Tensor) -> Tensor:
        return positive_part(outputs)

    def crop_loss(self, people: Tensor, crop: Crop) -> Tensor:
        """The loss of one crop from its people per cell (h, w), none below 0."""
        dots, inside = dots_in_crop(crop)
        blur, reach, masses = self.params.blur, self.params.reach, people.flatten()
        if not inside.any():
            return (reach + blur) * masses.sum() + self.params.remainder * masses.square().sum()
        costs = self.costs(dots[inside], (people.shape[0], people.shape[1])).to(people)
        cells, received = unbalanced_potentials(costs, masses.detach(), blur, reach, self.params.iterations)
        shares = ((cells + received[:, None] - costs) / blur).exp()
        transport = (reach + blur) * masses @ (1 - (-cells / reach).exp()) + reach * (
            1 - (-received / reach).exp()
        ).sum()
        return transport + self.params.remainder * sum(remainders(masses, shares))

    def costs(self, dots: Tensor, shape: tuple[int, int]) -> Tensor:
        """Of transport between dots (N, 2) in pixels of the crop and the cells of a grid (h, w): (N, h * w)."""
        height, width = (self.stride * side for side in shape)
        distances = squared_distances(dots, shape, self.stride).sqrt() / max(height, width)
        rows = (torch.arange(shape[0], device=dots.device) + 0.5) / shape[0]
        heights = (dots[:, 1:] / height + rows.repeat_interleave(shape[1])) / 2
        return (distances / (0.5 + 0.2 * heights)).expm1()


def remainders(masses: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """What a plan leaves over: of cells, sum_i (a_i - sum_j P_ij)^2, and of dots, sum_j |1 - sum_i P_ij|.

    The plan is P_ij = a_i s_ij, of masses a (M,) and shares s (N, M); the first term takes it for a constant."""
    sent = (masses * shares.sum(dim=0)).detach()
    return (masses - sent).square().sum(), (1 - shares @ masses).abs().sum()
