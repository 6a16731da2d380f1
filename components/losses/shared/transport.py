"""Optimal transport with an entropy, by Sinkhorn's algorithm (Cuturi 2013), in the log domain.

With the weight of the entropy at its end value from the start, 100 iterations are far from done where mass has to go a
long way: a distance of 100 px is 1,000 entropies. So the weight falls, from the largest cost to its end value along the
iterations (Schmitzer, "Stabilized sparse scaling algorithms for entropy regularized transport problems", 2019).

The squared distance would make the Gibbs kernel a product of two small ones, and an iteration two matrix products. But
exp(-cost / entropy) is 0 even in double precision from 87 px on, and what makes a cell's sum stable does not separate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

CACHED = 1 << 19  # costs looked at together: they stay in the processor's cache


@torch.no_grad()
def potentials(costs: Tensor, shares: Tensor, entropy: float, iterations: int) -> tuple[Tensor, Tensor]:
    """Dual potentials of the cells (M,) and of the dots (N,), for costs (N, M), from cells that hold `shares` (M,),
    which sum to 1, to N dots that want 1 / N each. A cell without a share has a potential too."""
    dots, largest, holding = len(costs), max(costs.max().item(), entropy), shares > 0
    width = max(1, CACHED // dots)
    parts = [*zip(costs[:, holding].split(width, dim=1), shares[holding].split(width), strict=True)]
    heights = costs.new_zeros(dots)
    for step in range(1, iterations + 1):
        weight = entropy * (largest / entropy) ** (1 - step / iterations)
        given = torch.stack([_plan(heights, cost, weight) @ share for cost, share in parts]).sum(dim=0)
        heights -= weight * (dots * given).clamp(min=torch.finfo(given.dtype).tiny).log()
    below = torch.cat([((heights[:, None] - cost) / entropy).logsumexp(dim=0) for cost in costs.split(width, dim=1)])
    return entropy * (math.log(dots) - below), heights


def _plan(heights: Tensor, costs: Tensor, weight: float) -> Tensor:
    """Where each cell's share goes, (N, M): columns sum to 1."""
    return ((heights[:, None] - costs) / weight).softmax(dim=0)
