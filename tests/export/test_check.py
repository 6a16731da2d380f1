"""A file that counts otherwise than its run is not kept; nor is an earlier file lost to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.data.manifest import Prepared
from components.errors import UserError
from components.export.check import SIZES, check_images, largest_difference
from components.export.export import export
from components.export.weights_file import WeightsFile
from components.runs.folder import read_weights

IMAGE = np.zeros((2, 2, 3), np.uint8)


@pytest.mark.parametrize(
    ("ours", "theirs", "difference"),
    [
        ([[1.0, 3.0]], [[1.0, 3.0]], 0),
        ([[1.0, 3.0]], [[1.0, 2.0]], 1 / 4),
        ([[1.0, 3.0]], [[3.0, 1.0]], 1),  # the same count in other places
        ([[1.0, -3.0]], [[1.0, -2.0]], 1 / 4),
        ([[0.0, 0.0]], [[0.0, 0.0]], 0),
        ([[0.0, 0.0]], [[0.0, 0.1]], np.inf),
        ([[1.0, 3.0]], [[4.0]], np.inf),
    ],
)
def test_a_difference_is_the_share_of_people_placed_otherwise(ours: list, theirs: list, difference: float) -> None:
    assert largest_difference(lambda _: np.array(ours), lambda _: np.array(theirs), [IMAGE]) == difference


def test_the_largest_difference_of_all_images_counts() -> None:
    images = [np.full((1, 1, 3), value, np.uint8) for value in (1, 2, 4)]
    difference = largest_difference(lambda x: x[..., 0] * 1.0, lambda x: (x[..., 0] == 2) + x[..., 0] * 1.0, images)
    assert difference == 1 / 2


def test_images_of_the_data_are_resized_for_the_check(run: Path) -> None:
    prepared = Prepared(run.parents[2] / "prepared/crowd")
    images = check_images(prepared)
    assert [each.shape[:2] for each in images] == list(SIZES)
    first, resized = prepared.images[prepared.split("val")[0].number], images[0]
    assert resized.mean() == pytest.approx(first.mean(), abs=3)
    assert [each.shape[:2] for each in check_images(None)] == list(SIZES)


def test_a_file_that_counts_otherwise_is_removed(run: Path, tmp_path: Path) -> None:
    """The last layer's weights are too small for half precision here: there they would be 0."""
    weights = read_weights(run / "best.safetensors")
    weights.tensors["counter.fuse.weight"] *= 1e-9
    weights.tensors["counter.fuse.bias"] *= 0
    WeightsFile(half=False).write(tmp_path / "small.safetensors", weights)
    (tmp_path / "counter.safetensors").write_text("an earlier file")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"counter\.safetensors: counts differ from the run's by 1 of the people"):
        export(tmp_path / "small.safetensors", tmp_path / "counter.safetensors", half=True)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "counter.safetensors").read_text() == "an earlier file"
