"""DM-Count against the equations of its paper, and its transport against other solvers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, linprog

from components.crowd import Window
from components.losses.shared.dots import squared_distances
from components.losses.shared.transport import potentials
from tests.losses.test_losses import PEOPLE, SCALE, crops, guess, loss


def test_count_and_total_variation_are_those_of_the_papers_equations() -> None:
    people, cells = guess(), np.zeros((12, 16))
    for x, y in PEOPLE:
        cells[min(int(y // 4), 11), min(int(x // 4), 15)] += 1
    total = people.sum().item()
    distance = sum(abs(a / total - b / 6) for a, b in zip(people.flatten().tolist(), cells.flatten(), strict=True)) / 2
    ours = loss("dm_count", transport=0, variation=0.5)(SCALE * people, None, crops(PEOPLE))
    assert ours.item() == pytest.approx(abs(total - 6) + 0.5 * 6 * distance)


def test_transport_with_little_entropy_is_the_optimal_plan_of_a_linear_programme() -> None:
    shares, dots = guess(4, 6)[0, 0], torch.rand(3, 2, dtype=torch.float64) * 16
    shares[0, 1:4] = 0
    shares /= shares.sum()
    costs = squared_distances(dots, (4, 6), 4).numpy()
    of_dots, of_cells = np.kron(np.eye(3), np.ones(24)), np.kron(np.ones(3), np.eye(24))
    marginals = np.r_[np.full(3, 1 / 3), shares.numpy().ravel()]
    plan = linprog(costs.ravel(), A_eq=np.r_[of_dots, of_cells], b_eq=marginals)
    ours = loss("dm_count", entropy=0.02, iterations=2000).transport(shares, dots)
    assert ours.item() == pytest.approx(plan.fun, rel=2e-3)


def test_transport_from_as_many_cells_as_dots_is_their_assignment() -> None:
    """On a canvas where the Gibbs kernel of a fixed entropy of 10 px^2 would be zero nearly everywhere."""
    cells = torch.zeros(60, 80, dtype=torch.float64)
    cells.view(-1)[torch.randperm(4800)[:12]] = 1 / 12
    dots = torch.rand(12, 2, dtype=torch.float64) * torch.tensor([320, 240])
    costs = squared_distances(dots, (60, 80), 4)[:, cells.flatten() > 0]
    best = costs[linear_sum_assignment(costs.numpy())].mean().item()
    assert best > 1000
    assert loss("dm_count").transport(cells, dots).item() == pytest.approx(best, rel=0.02)


def test_potentials_of_a_plan_give_each_dot_its_person() -> None:
    shares = guess()[0, 0].flatten()
    shares /= shares.sum()
    costs = squared_distances(torch.tensor(PEOPLE, dtype=torch.float64), (12, 16), 4)
    of_cells, of_dots = potentials(costs, shares, 7000.0, 50)
    plan = ((of_cells + of_dots[:, None] - costs) / 7000).exp() * shares / 6
    torch.testing.assert_close(plan.sum(dim=0), shares)
    torch.testing.assert_close(plan.sum(dim=1), torch.full((6,), 1 / 6, dtype=torch.float64))


def test_dm_count_gradient_is_right() -> None:
    """Through the algorithm, though potentials are found without a gradient: at their optimum they are the gradient."""
    counted, small = loss("dm_count", scale=1.0, entropy=100, iterations=100), crops(PEOPLE[:2], Window(8, 4, 16, 20))
    assert torch.autograd.gradcheck(lambda each: counted(each, None, small), (6 * guess(4, 5)).requires_grad_())


def test_cells_below_zero_are_pulled_up_where_people_are_and_never_further_down() -> None:
    """Beside the gradient of the count, which is -1 in every cell."""
    predicted = guess()
    predicted[0, 0, 3, 2] = predicted[0, 0, 0, 15] = -0.2
    predicted.requires_grad_()
    loss("dm_count", scale=1.0)(predicted, None, crops([(10, 13)] * 8)).backward()
    assert predicted.grad[0, 0, 3, 2] < -1
    assert predicted.grad[0, 0, 0, 15] == -1
    assert predicted.grad[0, 0, 0, 14] > -1
