"""What the alarms measure of learned maps."""

from __future__ import annotations

import numpy as np
import pytest

from components.training.alarms import alarms, health


def test_health_of_a_perfect_a_flat_and_an_empty_map() -> None:
    truth = np.zeros((8, 8), np.float32)
    truth[2, 3] = truth[5, 5] = 1
    perfect = health([truth], [truth])
    assert perfect == pytest.approx({"map_sum_error": 0, "map_variance": 1, "map_correlation": 1})
    assert alarms(perfect) == []
    assert len(alarms(health([np.full_like(truth, 2 / 64)], [truth]))) == 2  # flat: no variance, no correlation
    assert "sum" in alarms(health([truth * 0.01], [truth]))[0]


def test_a_map_that_is_not_a_number_raises_every_alarm() -> None:
    truth = np.ones((8, 8), np.float32)
    truth[2, 3] = 3
    assert len(alarms(health([np.full_like(truth, np.nan)], [truth]))) == 3


def test_images_without_people_raise_no_alarm() -> None:
    empty = np.zeros((4, 4), np.float32)
    assert alarms(health([empty], [empty])) == []
