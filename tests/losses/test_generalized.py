"""The generalized loss against its primal problem, minimised by a general method, and against its special cases."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from torch import Tensor

from components.crowd import Window
from components.density_maps.gaussian import draw
from components.losses.generalized import remainders
from components.losses.shared.unbalanced_transport import unbalanced_potentials
from tests.losses.test_losses import PEOPLE, SIZE, crops, guess, loss

SMALL = Window(8, 4, 12, 16)  # 3 x 4 cells
INSIDE = [(5.0, 9.0), (13.0, 13.0), (18.5, 19.0)]  # dots in it


def divergence(ratio: np.ndarray) -> np.ndarray:
    """x log x - x + 1, with its tangent at 0.1 below that."""
    capped = np.maximum(ratio, 0.1)
    return capped * np.log(capped) - capped + 1 + math.log(0.1) * np.minimum(ratio - 0.1, 0)


def primal(
    logs: np.ndarray, costs: np.ndarray, masses: np.ndarray, entropy: float, reach: float
) -> tuple[float, np.ndarray]:
    """The objective of unbalanced transport, and its gradient, in the logarithms of a plan (N * M,)."""
    plan = np.exp(logs).reshape(costs.shape)
    ratios, received = plan / masses, plan.sum(axis=1)
    sent = ratios.sum(axis=0)
    missing = masses * (sent * np.log(sent) - sent + 1)
    total = (plan * costs).sum() + reach * missing.sum() + reach * divergence(received).sum()
    total += entropy * ((plan * (np.log(ratios) - 1)).sum() + masses.sum())
    slopes = costs + entropy * np.log(ratios) + reach * np.log(sent)
    slopes += reach * np.log(np.maximum(received, 0.1))[:, None]
    return total, (plan * slopes).ravel()


@pytest.mark.parametrize(
    ("placed", "total", "starved"),
    [
        ("everywhere", 3.0, False),
        ("everywhere", 9.0, False),
        ("everywhere", 0.5, True),
        ("far from two dots", 3.0, True),
        ("far from two dots", 9.0, True),
    ],
)
def test_transport_is_the_least_of_the_primal_problem(placed: str, total: float, starved: bool) -> None:
    masses = guess(3, 4)[0, 0]
    if placed != "everywhere":
        masses[:] = 1e-5
        masses[0, 0] = 1
    masses *= total / masses.sum()
    counted = loss("generalized", scale=1.0, blur=0.1, reach=0.2, remainder=0, iterations=500)
    ours = counted(masses[None, None], None, crops(INSIDE, SMALL)).item()
    dots = torch.tensor(INSIDE, dtype=torch.float64) - torch.tensor([4, 8])
    costs, flat = counted.costs(dots, (3, 4)).numpy(), masses.flatten().numpy()
    start = np.log(np.tile(flat / 3, (3, 1))).ravel()
    options = {"maxfun": 10**6, "maxiter": 10**5, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(primal, start, (costs, flat, 0.1, 0.2), method="L-BFGS-B", jac=True, options=options)
    received = np.exp(found.x).reshape(3, 12).sum(axis=1)
    assert (received.min() < 0.1) == starved
    assert ours == pytest.approx(found.fun, rel=1e-5)


@pytest.mark.parametrize("mass", [0.3, 1.0, 2.5])
def test_one_cell_and_one_dot_have_a_closed_form(mass: float) -> None:
    """Where the derivative of C P + (reach + blur) P log(P / a) + reach P log P in P is that of P (2 reach + blur)."""
    cost = math.expm1(math.hypot(1, 1) / 4 / (0.5 + 0.2 * (1 / 4 + 2 / 4) / 2))
    sent = math.exp((0.7 * math.log(mass) - cost) / 1.2)
    expected = 0.7 * (mass - sent) + 0.5 * (1 - sent) + 0.1 * ((mass - sent) ** 2 + abs(1 - sent))
    counted = loss("generalized", scale=1.0, blur=0.2, iterations=500)
    ours = counted(torch.full((1, 1, 1, 1), mass), None, crops([(9.0, 17.0)], Window(16, 8, 4, 4)))
    assert ours.item() == pytest.approx(expected, rel=1e-5)


def test_gradient_of_transport_is_right() -> None:
    """Though potentials are found without one; also for a dot that receives next to nothing."""
    counted = loss("generalized", scale=1.0, blur=0.1, reach=0.2, remainder=0, iterations=200)
    people = guess(3, 4) + 0.01
    people[..., 2:] = 1e-4
    dots = crops(INSIDE, SMALL)
    assert torch.autograd.gradcheck(lambda each: counted(each, None, dots), people.requires_grad_(), eps=1e-7)


def test_gradient_of_what_is_left_over_takes_the_plan_for_a_constant() -> None:
    people, dots = (4 * guess(3, 4)).requires_grad_(), crops(INSIDE, SMALL)
    gradients = []
    for weight in (0.0, 0.3):
        counted = loss("generalized", scale=1.0, remainder=weight)
        gradients.append(torch.autograd.grad(counted(people, None, dots).sum(), people)[0])
    costs = counted.costs(torch.tensor(INSIDE, dtype=torch.float64) - torch.tensor([4, 8]), (3, 4)).double()
    masses = people.detach().flatten()
    cells, received = unbalanced_potentials(costs, masses, 0.01, 0.5, 40)
    plan = masses * ((cells + received[:, None] - costs) / 0.01).exp()
    kept = 2 * (masses - plan.sum(dim=0))
    missing = (plan / masses * (plan.sum(dim=1) - 1).sign()[:, None]).sum(dim=0)
    torch.testing.assert_close((gradients[1] - gradients[0]).flatten(), 0.3 * (kept + missing), rtol=1e-4, atol=1e-6)


def test_the_plan_of_a_density_map_leaves_over_the_squared_error() -> None:
    """Section 3.3 of the paper: columns that sum to 1 leave nothing over at the dots."""
    people = guess(below=-0.1)
    kernels = torch.stack([draw(torch.tensor([dot]), 4.0, SIZE).double().flatten() for dot in PEOPLE])
    cells, dots = remainders(people.flatten(), kernels / people.flatten())
    squared = loss("squared_error")(people, kernels.sum(dim=0).reshape(1, 1, 12, 16), crops(PEOPLE))
    assert cells.item() == pytest.approx(squared.item())
    assert dots.item() == pytest.approx(0, abs=1e-6)


def test_the_plan_of_the_bayesian_posterior_leaves_over_the_bayesian_loss() -> None:
    """Section 3.3 of the paper: rows that sum to a leave nothing over in the cells."""
    people, bayesian = guess(), loss("bayesian", scale=1.0, background=None)
    posterior = bayesian.posterior(torch.tensor(PEOPLE, dtype=torch.float64), (12, 16))
    cells, dots = remainders(people.flatten(), posterior)
    assert dots.item() == pytest.approx(bayesian(people, None, crops(PEOPLE)).item())
    assert cells.item() == pytest.approx(0, abs=1e-12)


def test_with_a_far_reach_and_equal_masses_it_is_balanced_transport() -> None:
    masses = guess(3, 4)[0, 0]
    masses *= 3 / masses.sum()
    counted = loss("generalized", scale=1.0, blur=1e-3, reach=1e3, remainder=0, iterations=3000)
    ours = counted(masses[None, None], None, crops(INSIDE, SMALL)).item()
    costs = counted.costs(torch.tensor(INSIDE, dtype=torch.float64) - torch.tensor([4, 8]), (3, 4)).numpy()
    of_dots, of_cells = np.kron(np.eye(3), np.ones(12)), np.kron(np.ones(3), np.eye(12))
    marginals = np.r_[np.ones(3), masses.numpy().ravel()]
    plan = linprog(costs.ravel(), A_eq=np.r_[of_dots, of_cells], b_eq=marginals)
    assert ours == pytest.approx(plan.fun, rel=2e-3)


def test_costs_are_those_of_the_formula() -> None:
    """Distances in longer sides of the crop, and mean heights from its top."""
    counted = loss("generalized", stride=8)
    dots = [(3.0, 5.0), (60.0, 40.0), (64.0, 0.0)]
    costs = counted.costs(torch.tensor(dots, dtype=torch.float64), (6, 8)).reshape(3, 6, 8)
    for (number, (x, y)), row, column in product(enumerate(dots), range(6), range(8)):
        away = math.hypot(8 * column + 4 - x, 8 * row + 4 - y) / 64
        height = (y + 8 * row + 4) / 2 / 48
        assert costs[number, row, column].item() == pytest.approx(math.exp(away / (0.2 * height + 0.5)) - 1, rel=1e-5)


def test_a_crop_without_dots_wants_no_people() -> None:
    people = guess().requires_grad_()
    value = loss("generalized", scale=1.0)(people, None, crops([(40.0, 20.0)], Window(0, 0, 12, 16)))
    total, squares = people.detach().sum().item(), people.detach().square().sum().item()
    assert value.item() == pytest.approx(0.51 * total + 0.1 * squares)


def test_dots_outside_the_crop_change_nothing() -> None:
    people, window = guess(3, 4), SMALL
    outside = [(3.9, 9.0), (20.0, 9.0), (10.0, 7.9), (60.0, 40.0)]
    counted = loss("generalized", scale=1.0)
    both = counted(people, None, crops([*outside, *INSIDE], window))
    assert torch.equal(both, counted(people, None, crops(INSIDE, window)))


@pytest.mark.parametrize("people", [0.0, -3.0, 1e-30, 1e4, "one cell"])
def test_loss_and_gradient_stay_finite_and_the_pull_of_a_dot_bounded(people: float | str) -> None:
    """In single precision, for dots near each other and in opposite corners."""
    predicted = torch.full((1, 1, 60, 80), 0.0 if people == "one cell" else people)
    predicted[0, 0, 0, 0] += 500 if people == "one cell" else 0
    dots = [(1.0, 1.0), (1.0, 1.0), (319.0, 239.0)]
    crop = [replace(each, size=(240, 320)) for each in crops(dots, Window(0, 0, 240, 320))]
    value = loss("generalized", scale=1.0)(predicted.requires_grad_(), None, crop)
    value.sum().backward()
    assert value.isfinite().all()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert predicted.grad.min() > -(0.51 + 0.1) * 10 * 3 ** (0.01 / 0.5) - 0.1
    if people == 0.0:
        assert predicted.grad[0, 0, 0, 0] < -1
        assert predicted.grad[0, 0, -1, -1] < -1
    if people == -3.0:
        assert predicted.grad[0, 0, 30, 40] == 0  # far from all dots: never further down


def converged(iterations: int, dots: Tensor, people: Tensor) -> tuple[Tensor, Tensor]:
    crop = [replace(each, size=(256, 384)) for each in crops(dots.tolist(), Window(0, 0, 256, 384))]
    given = people.clone().requires_grad_()
    value = loss("generalized", stride=8, scale=1.0, iterations=iterations)(given, None, crop)
    return value.detach(), torch.autograd.grad(value.sum(), given)[0]


def test_the_default_iterations_are_close_to_convergence() -> None:
    dots = torch.rand(60, 2, dtype=torch.float64) * torch.tensor([384, 256])
    people = draw(dots, 12.0, (256, 384)).reshape(1, 1, 32, 2, 48, 2).sum(dim=(3, 5)) * (0.5 + torch.rand(1, 1, 32, 48))
    value, gradient = converged(40, dots, people)
    last, last_gradient = converged(1000, dots, people)
    torch.testing.assert_close(value, last, rtol=0.02, atol=0)
    assert (gradient - last_gradient).abs().median() < 0.01
    assert last_gradient.abs().median() > 0.02


@pytest.mark.parametrize("beside", [0, 1, 2])
def test_a_dot_is_served_by_the_cell_that_holds_a_person_and_what_the_way_costs(beside: int) -> None:
    """exp(C / (reach + blur)), from the closed form of one cell: 1 where the dot is at the cell's centre."""
    counted, dots = loss("generalized", scale=1.0, remainder=1.0), [(10.0, 10.0), (38.0, 22.0 + beside)]
    cost = math.expm1(beside / 64 / (0.5 + 0.2 * (22 + beside / 2) / 48))
    people = torch.zeros(1, 1, 12, 16, dtype=torch.float64)
    people[0, 0, 2, 2], people[0, 0, 5, 9] = 1, math.exp(cost / 0.51)
    losses = []
    for factor in (0.97, 1, 1.03):
        people[0, 0, 5, 9] *= factor
        losses.append(counted(people, None, crops(dots)).item())
        people[0, 0, 5, 9] /= factor
    assert losses[1] < min(losses[0], losses[2])


def test_a_prediction_that_is_negative_everywhere_recovers() -> None:
    dots, counted = [(10.0, 10.0), (38.0, 22.0)], loss("generalized", iterations=20)
    predicted = torch.full((1, 1, 12, 16), -1.0, requires_grad=True)
    optimiser = torch.optim.Adam([predicted], lr=1)
    slower = torch.optim.lr_scheduler.LinearLR(optimiser, 1, 0.01, total_iters=150)
    for _ in range(150):
        optimiser.zero_grad()
        counted(predicted, None, crops(dots)).sum().backward()
        optimiser.step()
        slower.step()
    found = counted.people(predicted.detach())[0, 0] / 40
    assert found[:, :7].sum().item() == pytest.approx(1, abs=0.05)
    assert found[:, 7:].sum().item() == pytest.approx(1, abs=0.05)
