"""Optimal transport with an entropy, by Sinkhorn's algorithm (Cuturi 2013), in the log domain.

With the final entropy weight from the start, 100 iterations do not converge if mass has to move far: the squared
distance of 100 px is 1,000 times the entropy weight. So the weight falls over the iterations, from the largest cost to
its final value (Schmitzer, "Stabilized sparse scaling algorithms for entropy regularized transport problems", 2019).

With squared distances the Gibbs kernel is a product of two small ones, and an iteration would be two matrix products.
But exp(-cost / entropy) underflows even in double precision from 87 px on, and the maximum that stabilises the sum of a
cell does not separate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

CHUNK = 1 << 19  # costs in one chunk, which stays in the processor's cache


@torch.no_grad()
def potentials(costs: Tensor, shares: Tensor, entropy: float, iterations: int) -> tuple[Tensor, Tensor]:
    """Dual potentials of M cells (M,) and of N dots (N,), for transport with costs (N, M).

    The cells have masses `shares` (M,), which sum to 1, and each dot has 1 / N. Cells without mass have a potential
    too."""
    dots, largest_cost, nonempty = len(costs), max(costs.max().item(), entropy), shares > 0
    width = max(1, CHUNK // dots)
    chunks = [*zip(costs[:, nonempty].split(width, dim=1), shares[nonempty].split(width), strict=True)]
    dot_potentials = costs.new_zeros(dots)
    for step in range(1, iterations + 1):
        weight = entropy * (largest_cost / entropy) ** (1 - step / iterations)
        received = torch.stack([_plan(dot_potentials, cost, weight) @ share for cost, share in chunks]).sum(dim=0)
        dot_potentials -= weight * (dots * received).clamp(min=torch.finfo(received.dtype).tiny).log()
    cell_potentials = torch.cat(
        [((dot_potentials[:, None] - cost) / entropy).logsumexp(dim=0) for cost in costs.split(width, dim=1)]
    )
    return entropy * (math.log(dots) - cell_potentials), dot_potentials


def _plan(dot_potentials: Tensor, costs: Tensor, weight: float) -> Tensor:
    """The fraction of each cell's mass that goes to each dot, (N, M): columns sum to 1."""
    return ((dot_potentials[:, None] - costs) / weight).softmax(dim=0)
