"""Scores of maps whose people are known, at sizes that no stride divides."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluation.score import EvalImage, count_dots, score, sum_regions

SIZES = [(96, 128), (97, 131), (30, 30), (5, 9)]


def dotted(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(count).random((count, 2)) * (width, height)


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_perfect_map_has_no_error_at_any_level(height, width, stride):
    dots = np.concatenate([dotted(37, height, width), [[width, height], [0, 0], [0, 0], [width, 0]]])
    shape = (-(-height // stride), -(-width // stride))
    perfect = count_dots(dots, shape, stride)
    [result] = score(lambda image: perfect, [EvalImage("a", np.zeros((height, width, 3), np.uint8), dots)], stride)
    assert (result.truth, result.prediction, result.game) == (41, 41, (0, 0, 0, 0))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_finer_regions_forgive_less_and_level_zero_is_the_count_error(height, width):
    dots, shape = dotted(50, height, width), (-(-height // 4), -(-width // 4))
    predicted = np.random.default_rng(0).random(shape, np.float32)
    [result] = score(lambda image: predicted, [EvalImage("a", np.zeros((height, width, 3), np.uint8), dots)], 4)
    assert result.game[0] == pytest.approx(abs(predicted.sum().item() - 50), rel=1e-5)
    assert list(result.game) == pytest.approx(sorted(result.game))


def test_a_person_in_the_wrong_quarter_costs_two_from_level_one_on():
    predicted = np.zeros((8, 8), np.float32)
    predicted[7, 7] = 1
    [result] = score(
        lambda image: predicted, [EvalImage("a", np.zeros((32, 32, 3), np.uint8), np.array([[1.0, 1.0]]))], 4
    )
    assert result.game == (0, 2, 2, 2)


def test_what_is_predicted_outside_a_region_of_interest_does_not_count() -> None:
    image = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    region = np.array([[1.0, 0.5], [0.0, 0.0]])
    seen = []

    def density(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels)
        return np.full((2, 2), 2, np.float32)

    [result] = score(density, [EvalImage("a", image, np.array([[1.0, 1.0]]), region, "street")], 4)
    assert seen[0] is image
    assert (result.id, result.scene, result.truth, result.prediction) == ("a", "street", 1, 3)
    assert result.game == (2, 2, 2, 2)


def test_regions_keep_the_sum_and_a_small_grid_leaves_some_empty():
    cells = np.arange(15.0).reshape(3, 5)
    assert sum_regions(cells, 2).tolist() == [[0 + 1, 2 + 3 + 4], [5 + 6 + 10 + 11, 7 + 8 + 9 + 12 + 13 + 14]]
    assert sum_regions(cells, 8).sum() == cells.sum()
    assert np.count_nonzero(sum_regions(cells + 1, 8)) == 15
