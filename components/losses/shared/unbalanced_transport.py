"""Unbalanced optimal transport with an entropy, by Sinkhorn's algorithm in the log domain.

Cells i have masses a_i, and each dot j wants 1. A plan P sends P_ij from cell i to dot j:

    min over P >= 0 of  sum P C  +  entropy (sum P_ij (log(P_ij / a_i) - 1) + sum a_i)
                        +  reach sum_i a_i h(sum_j P_ij / a_i)  +  reach sum_j h(sum_i P_ij),

h(x) = x log x - x + 1, which is 0 for what is sent or received in full (Kullback-Leibler divergences; Chizat, Peyre,
Schmitzer, Vialard, "Scaling algorithms for unbalanced optimal transport problems", 2018). The entropy is that of where
each unit of mass goes: mass at a dot, all of it sent there, costs nothing. The dual problem, in potentials f of the
cells and g of the dots, is

    max  (reach sum_i a_i (1 - exp(-f_i / reach)) + reach sum_j (1 - exp(-g_j / reach))
          - entropy sum_i a_i (sum_j exp((f_i + g_j - C_ij) / entropy) - 1),

and P_ij = a_i exp((f_i + g_j - C_ij) / entropy). For the best f, sum_j P_ij = a_i exp(-f_i / reach), so the maximum is

    (reach + entropy) sum_i a_i (1 - exp(-f_i / reach)) + reach sum_j (1 - exp(-g_j / reach)),

and its gradient in a_i, by the envelope theorem, the factor of a_i. That gradient has no bound: a dot without any mass
near it would want mass infinitely much. So g_j is at most `reach` log(1 / LEAST_RECEIVED), which makes h linear where
a dot receives less than that share of its 1. Without mass, too, all potentials are finite then."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CHUNK = 1 << 19  # costs in one chunk, which stays in the processor's cache
LEAST_RECEIVED = 0.1


@torch.no_grad()
def unbalanced_potentials(
    costs: Tensor, masses: Tensor, entropy: float, reach: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """Dual potentials f of M cells (M,) and g of N dots (N,), for costs (N, M) and masses of the cells (M,), >= 0.

    Cells without mass have a potential too. The entropy's weight falls over the first half of the iterations, from the
    largest cost to its final value. Each iteration finds the best f, the best g, and then the best shift of all f up
    and all g down, without which the sums of both would converge last (Sejourne, Vialard, Peyre, "Faster unbalanced
    optimal transport: translation invariant Sinkhorn and 1-D Frank-Wolfe", 2022)."""
    largest_cost, nonempty = max(costs.max().item(), entropy), masses > 0
    width, highest = max(1, CHUNK // len(costs)), reach * math.log(1 / LEAST_RECEIVED)
    log_masses = masses[nonempty].log().split(width)
    chunks = [*zip(costs[:, nonempty].split(width, dim=1), log_masses, strict=True)]
    dots = costs.new_zeros(len(costs))
    for step in range(1, iterations + 1):
        weight = entropy * (largest_cost / entropy) ** max(0.0, 1 - 2 * step / iterations)
        parts = [_sums(dots, cost, log_mass, weight, reach) for cost, log_mass in chunks]
        log_received, log_sent = (torch.stack(part).logsumexp(dim=0) for part in zip(*parts, strict=True))
        dots = (-_damped(weight, reach) * log_received).clamp(max=highest)
        shift = reach / 2 * (log_sent - (-dots / reach).logsumexp(dim=0))
        dots = dots - shift.clamp(min=dots.max() - highest)
    return torch.cat([_cells(dots, cost, entropy, reach) for cost in costs.split(width, dim=1)]), dots


def _sums(dots: Tensor, costs: Tensor, log_masses: Tensor, entropy: float, reach: float) -> tuple[Tensor, Tensor]:
    """With the best potentials f of these cells: log sum_i a_i exp((f_i - C_ij) / entropy) of each dot (N,), and
    log sum_i a_i exp(-f_i / reach), the mass that the cells send."""
    cells = _cells(dots, costs, entropy, reach)
    return (log_masses + (cells - costs) / entropy).logsumexp(dim=1), (log_masses - cells / reach).logsumexp(dim=0)


def _cells(dots: Tensor, costs: Tensor, entropy: float, reach: float) -> Tensor:
    """The best potentials of cells (M,) for those of dots (N,), with costs (N, M)."""
    return -_damped(entropy, reach) * ((dots[:, None] - costs) / entropy).logsumexp(dim=0)


def _damped(entropy: float, reach: float) -> float:
    return entropy * reach / (entropy + reach)
