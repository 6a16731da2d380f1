"""The Bayesian loss against the equations of its paper."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch

from components.crowd import Window
from tests.losses.test_losses import PEOPLE, SCALE, SIZE, crops, guess, loss


def expected_counts(people: np.ndarray, dots: list, sigma: float, margin: float | None) -> np.ndarray:
    """E[c_n] of each dot, then of the background, by the paper's equations, a cell and a dot at a time."""
    sums = np.zeros(len(dots) + 1)
    for row, column in product(*map(range, people.shape)):
        away = [math.hypot(4 * column + 2 - x, 4 * row + 2 - y) for x, y in dots]
        likelihoods = [math.exp(-(each**2) / (2 * sigma**2)) for each in away]
        nearest = dots[int(np.argmin(away))]
        likelihoods.append(0.0 if margin is None else background(column, row, nearest, sigma, margin))
        sums += people[row, column] * np.array(likelihoods) / sum(likelihoods)
    return sums


def background(column: int, row: int, nearest: tuple[float, float], sigma: float, margin: float) -> float:
    """The likelihood of a cell given its dummy background point, placed as in the paper."""
    cell = np.array([4 * column + 2, 4 * row + 2])
    direction = (cell - nearest) / np.linalg.norm(cell - nearest)
    return math.exp(-np.square(cell - (nearest + margin * direction)).sum() / (2 * sigma**2))


@pytest.mark.parametrize("ratio", [0.15, None, 0.5])
@pytest.mark.parametrize("window", [Window(0, 0, *SIZE), Window(8, 16, 32, 40)])
def test_bayesian_loss_is_that_of_the_papers_equations(ratio: float | None, window: Window) -> None:
    people = guess(window.height // 4, window.width // 4, below=0.3)
    dots = [(x - window.left, y - window.top) for x, y in PEOPLE]
    held = [0 <= x <= window.width and 0 <= y <= window.height for x, y in dots]
    margin = None if ratio is None else ratio * min(window.height, window.width)
    *expected, empty = expected_counts(people[0, 0].numpy(), dots, 8.0, margin)
    by_hand = sum(abs(wanted - each) for wanted, each in zip(held, expected, strict=True)) + abs(empty)
    ours = loss("bayesian", background=ratio)(SCALE * people, None, crops(PEOPLE, window))
    assert ours.item() == pytest.approx(by_hand, rel=1e-6)


def test_dots_far_from_every_cell_and_cells_far_from_every_dot_have_shares() -> None:
    """A bandwidth so small that every Gaussian underflows: each cell is its nearest dot's."""
    shares = loss("bayesian", sigma=0.1, background=None).posterior(torch.tensor([[2.0, 2.0], [90.0, 9.0]]), (3, 20))
    assert shares.reshape(2, 3, 20)[0].sum(dim=1).tolist() == pytest.approx([11, 11, 11], abs=1)
    torch.testing.assert_close(shares.sum(dim=0), torch.ones(60))


def test_bayesian_gradient_is_right() -> None:
    counted = loss("bayesian")
    small = crops(PEOPLE, Window(8, 4, 16, 20))
    assert torch.autograd.gradcheck(lambda each: counted(each, None, small), guess(4, 5, below=0.5).requires_grad_())
