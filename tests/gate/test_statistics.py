"""Bounds of means where images of one camera are alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from components.gate.statistics import clustered_mean


def test_the_bound_is_that_of_the_means_of_cameras() -> None:
    """40 cameras with 5 equal images each: the spread is that of 40 numbers, by the central limit theorem."""
    of_camera = np.random.default_rng(0).normal(3, 2, 40)
    names = [f"c{number}" for number in range(40) for _ in range(5)]
    found = clustered_mean(np.repeat(of_camera, 5), names, 0.95, fewest=5, times=20_000)
    half = norm.ppf(0.95) * of_camera.std() / np.sqrt(40)
    assert found.value == pytest.approx(of_camera.mean())
    assert found.high == pytest.approx(of_camera.mean() + half, abs=0.05 * half)
    assert found.low == pytest.approx(of_camera.mean() - half, abs=0.05 * half)


def test_of_few_cameras_images_are_drawn_within_each() -> None:
    """Two cameras far apart: the difference between them is no noise; the spread is that within them."""
    stream = np.random.default_rng(1)
    values = np.concatenate([stream.normal(0, 1, 50), stream.normal(100, 1, 50)])
    found = clustered_mean(values, ["a"] * 50 + ["b"] * 50, 0.95, fewest=3, times=20_000)
    half = norm.ppf(0.95) * np.sqrt(values[:50].var() + values[50:].var()) / np.sqrt(50) / 2
    assert found.high - found.value == pytest.approx(half, rel=0.05)


def test_of_few_images_that_are_each_a_camera_the_spread_is_that_of_the_images() -> None:
    values = np.random.default_rng(2).normal(0, 1, 12)
    found = clustered_mean(values, [str(number) for number in range(12)], 0.95, fewest=20, times=20_000)
    assert found.high - found.value == pytest.approx(norm.ppf(0.95) * values.std() / np.sqrt(12), rel=0.05)


def test_a_camera_with_many_images_weighs_as_many() -> None:
    found = clustered_mean(np.array([1.0] * 9 + [11.0]), ["a"] * 9 + ["b"], 0.95, fewest=2, times=4000)
    assert found.value == pytest.approx(2)
    assert (found.low, found.high) == (1, 11)  # both draws of one camera
