"""What a data set says of every pixel, region of interest and perspective, as the prepare stage hands it on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.config.options import Choice
from components.config.study import DatasetEntry
from components.crowd import CELL, Problem, RawSample
from components.data.decode import prepare_images
from components.data.manifest import Prepared
from components.data.packed import Pack
from components.data.prepare import prepare_dataset
from components.datasets.mall import SCENE
from components.density_maps.annotation import annotation_map
from components.density_maps.drawn.perspective import Params, Perspective


def turned(folder: Path, size: tuple[int, int]) -> RawSample:
    """An upright photograph of 30 x 20 px, stored lying: people, region and perspective of `size` (height, width)."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(folder / "turned.png", exif=exif)
    down, across = np.mgrid[: size[0], : size[1]]
    return RawSample("a", folder / "turned.png", np.array([[19.0, 2.0], [2.0, 28.0]]), None, down > 9, across + 1.0)


class One:
    def __init__(self, sample: RawSample) -> None:
        self.sample = sample

    def __len__(self) -> int:
        return 1

    def samples(self, problems):
        yield self.sample


def test_region_and_perspective_are_of_the_image_as_it_is_seen(tmp_path: Path) -> None:
    problems: list[Problem] = []
    [image] = prepare_images(One(turned(tmp_path, (30, 20))), 15, problems)
    assert image.pixels.shape == (15, 10, 3)
    assert image.dots.tolist() == [[1.0, 14.0]]
    assert image.perspective is not None
    assert image.perspective.tolist() == [1.5]  # 3 px a metre at column 2, on half the pixels
    assert image.region is not None
    assert (image.region == np.where(np.arange(15)[:, None] > 4, 255, 0)).all()
    assert [problem.what for problem in problems] == ["1 dot outside the region of interest"]


def test_maps_of_the_image_as_it_is_stored_are_refused(tmp_path: Path) -> None:
    problems: list[Problem] = []
    assert list(prepare_images(One(turned(tmp_path, (20, 30))), None, problems)) == []
    assert problems[0].what == "its region of interest is 30 x 20 px, the image 20 x 30 px"


def test_a_perspective_map_of_another_size_leaves_the_image_out(tmp_path: Path) -> None:
    problems: list[Problem] = []
    sample = replace(turned(tmp_path, (30, 20)), perspective=np.ones((15, 10)))
    assert list(prepare_images(One(sample), None, problems)) == []
    assert problems[0].what == "its perspective map is 10 x 15 px, the image 20 x 30 px"


def test_an_empty_region_leaves_the_image_out_as_nothing_would_be_counted(tmp_path: Path) -> None:
    problems: list[Problem] = []
    sample = replace(turned(tmp_path, (30, 20)), roi=np.zeros((30, 20), bool))
    assert list(prepare_images(One(sample), None, problems)) == []
    assert problems[0].what == "its region of interest is empty"


def test_a_perspective_map_that_says_nothing_at_a_dot_is_a_problem(tmp_path: Path) -> None:
    problems: list[Problem] = []
    perspective = np.full((30, 20), 4.0)
    perspective[2, 19], perspective[28, 2] = np.nan, 0
    [image] = prepare_images(
        One(replace(turned(tmp_path, (30, 20)), roi=None, perspective=perspective)), None, problems
    )
    assert image.perspective is not None
    assert image.perspective.tolist() == [0, 0]
    assert problems[0].what == "the perspective map says nothing at 2 dots"


@pytest.mark.real
def test_mall_s_real_frames_keep_their_people_inside_the_region(real: Path, tmp_path: Path) -> None:
    """Six real frames at half their size, through the stages: every map holds its people, perspective ones too."""
    (tmp_path / "mall/frames").mkdir(parents=True)
    for name in (*(f"frames/seq_{number:06d}.jpg" for number in range(1, 400, 70)), "ground_truth.mat", SCENE):
        (tmp_path / "mall" / name).symlink_to(real.resolve() / "mall" / name)
    entry = DatasetEntry(source=Choice(kind="mall", root=str(tmp_path / "mall")), longest_side=320)
    prepare_dataset(entry, "test", "Mall", tmp_path / "prepared")
    prepared, kernel = Prepared(tmp_path / "prepared"), Perspective(Params())
    assert len(Pack(tmp_path / "prepared/regions")) == 1
    for row in prepared.rows:
        region = prepared.region(row, CELL)
        assert region is not None
        assert region.mean() == pytest.approx(0.9022, abs=2e-3)  # of the mask's pixels
        sigmas = kernel.bandwidths(row.dots, row.perspective)
        assert np.corrcoef(sigmas, row.dots[:, 1])[0, 1] > 0.9  # people are larger the lower they stand
        assert (sigmas.min(), sigmas.max()) > (1, 4)
        drawn = annotation_map(row, sigmas, region)
        assert drawn.sum() == pytest.approx(len(row.dots), rel=1e-4)
        assert drawn[region == 0].max() == 0
