"""Scores of maps whose people are known, at sizes that no stride divides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.evaluation.score import Scene, count_dots, regions, score

SIZES = [(96, 128), (97, 131), (30, 30), (5, 9)]


def dotted(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(count).random((count, 2)) * (width, height)


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_perfect_map_has_no_error_at_any_level(height, width, stride):
    dots = np.concatenate([dotted(37, height, width), [[width, height], [0, 0], [0, 0], [width, 0]]])
    shape = (-(-height // stride), -(-width // stride))
    perfect = torch.from_numpy(count_dots(dots, shape, stride))[None, None]
    [result] = score(lambda images: perfect, [Scene("a", np.zeros((height, width, 3), np.uint8), dots)], stride)
    assert (result.truth, result.prediction, result.game) == (41, 41, (0, 0, 0, 0))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_finer_regions_forgive_less_and_level_zero_is_the_count_error(height, width):
    dots, shape = dotted(50, height, width), (-(-height // 4), -(-width // 4))
    predicted = torch.rand(1, 1, *shape)
    [result] = score(lambda images: predicted, [Scene("a", np.zeros((height, width, 3), np.uint8), dots)], 4)
    assert result.game[0] == pytest.approx(abs(predicted.sum().item() - 50), rel=1e-5)
    assert list(result.game) == pytest.approx(sorted(result.game))


def test_a_person_in_the_wrong_quarter_costs_two_from_level_one_on():
    predicted = torch.zeros(1, 1, 8, 8)
    predicted[0, 0, 7, 7] = 1
    [result] = score(lambda images: predicted, [Scene("a", np.zeros((32, 32, 3), np.uint8), np.array([[1.0, 1.0]]))], 4)
    assert result.game == (0, 2, 2, 2)


def test_images_reach_the_counter_whole_as_rgb_planes_and_without_gradients():
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    image.flags.writeable = False
    weight = torch.ones((), requires_grad=True)

    def predict(images: torch.Tensor) -> torch.Tensor:
        assert torch.equal(images, torch.tensor(image).permute(2, 0, 1)[None])
        assert not (weight * 1).requires_grad
        return torch.zeros(1, 1, 2, 2)

    [result] = score(predict, [Scene("grey", image, np.zeros((0, 2)))], 4)
    assert (result.id, result.truth, result.prediction) == ("grey", 0, 0)


def test_regions_keep_the_sum_and_a_small_grid_leaves_some_empty():
    cells = np.arange(15.0).reshape(3, 5)
    assert regions(cells, 2).tolist() == [[0 + 1, 2 + 3 + 4], [5 + 6 + 10 + 11, 7 + 8 + 9 + 12 + 13 + 14]]
    assert regions(cells, 8).sum() == cells.sum()
    assert np.count_nonzero(regions(cells + 1, 8)) == 15
