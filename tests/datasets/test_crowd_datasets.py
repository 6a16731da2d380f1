"""Published data sets: official splits, regions of interest, perspective, and what their own files may get wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from components.config import plugins
from components.config.options import Choice
from components.crowd import Problem, RawSample
from components.data.decode import PreparedImage, drop_dots_outside, prepare_images
from components.datasets.mall import REFERENCE
from components.datasets.synthetic import scene
from components.errors import UserError
from tests.raw import crowds
from tests.raw.tools import PARAMS, RAW, save_image


def build(kind: str, root: Path, **options: object):
    choice = Choice.model_validate({"kind": kind, "root": str(root)} | options)
    return plugins.build("dataset", kind, plugins.resolve("dataset", choice, "test"))


def samples(kind: str, root: Path, **options: object) -> tuple[list[RawSample], list[Problem]]:
    problems: list[Problem] = []
    return list(build(kind, root, **options).samples(problems)), problems


def ready(kind: str, root: Path) -> tuple[list[PreparedImage], list[Problem]]:
    problems: list[Problem] = []
    return list(prepare_images(build(kind, root), None, problems)), problems


def left_half() -> np.ndarray:
    mask = np.zeros(crowds.SIZE, bool)
    mask[:, : PARAMS.width // 2] = True
    return mask


def test_dots_belong_to_the_region_of_their_pixel() -> None:
    region = np.array([[True, False], [False, True]])
    problems: list[Problem] = []
    dots = np.array([[0, 0], [0.99, 0.99], [1, 0], [0, 1], [1, 1], [2, 2], [2, 0]])
    kept = drop_dots_outside(region, dots, "file", problems)
    assert kept.tolist() == [[0, 0], [0.99, 0.99], [1, 1], [2, 2]]  # (2, 2) is the far edge of the last pixel
    assert problems == [Problem("file", "3 dots outside the region of interest", "dropped", "dots-outside-region")]


def test_mall_s_region_drops_dots_and_says_how_many(tmp_path: Path) -> None:
    crowds.mall(tmp_path, left_half())
    found, problems = ready("mall", tmp_path)
    for seed, image in enumerate(found):
        dots = scene(PARAMS, seed)[1].round(2)
        assert image.dots.tolist() == dots[dots[:, 0] < PARAMS.width // 2].tolist()
        assert problems[seed].what == f"{len(dots) - len(image.dots)} dots outside the region of interest"


def test_mall_s_first_800_frames_are_for_training(tmp_path: Path) -> None:
    crowds.mall(tmp_path, frames=(800, 801))
    found, problems = samples("mall", tmp_path)
    assert [(sample.id, sample.split) for sample in found] == [("seq_000800", "train"), ("seq_000801", "test")]
    assert [len(sample.dots) for sample in found] == [len(scene(PARAMS, seed)[1]) for seed in (799, 800)]
    assert [problem.what for problem in problems] == ["799 of its 801 frames have no image: 1, 2, 3, 4, 5"]


def test_mall_gives_region_and_perspective(tmp_path: Path) -> None:
    crowds.mall(tmp_path, left_half())
    sample = samples("mall", tmp_path)[0][0]
    assert sample.roi is not None
    assert sample.perspective is not None
    assert (sample.roi == left_half()).all()
    np.testing.assert_allclose(sample.perspective, crowds.perspective())


def test_a_weight_of_mall_that_is_none_is_an_unknown_perspective(tmp_path: Path) -> None:
    crowds.mall(tmp_path)
    weights = np.ones(crowds.SIZE)
    weights[0, :3] = 0, np.nan, -1
    savemat(tmp_path / "perspective_roi.mat", {"roi": {"mask": np.ones(crowds.SIZE)}, "pMapN": weights})
    perspective = samples("mall", tmp_path)[0][0].perspective
    assert perspective is not None
    assert perspective[0, :4].tolist() == [0, 0, 0, REFERENCE]


def test_mall_without_its_region_is_left_out_as_people_outside_would_count(copy: Callable[[str], Path]) -> None:
    root = copy("mall")
    (root / "perspective_roi.mat").unlink()
    found, problems = samples("mall", root)
    assert found == []
    assert [(problem.file, problem.action) for problem in problems] == [
        (str(root / "perspective_roi.mat"), "all frames are left out")
    ]


def test_a_frame_of_mall_after_the_last_listed_is_left_out(copy: Callable[[str], Path]) -> None:
    root = copy("mall")
    save_image(root / "frames/seq_000003.jpg", 5)
    found, problems = samples("mall", root)
    assert len(found) == 2
    what = "frame 3: only 2 frames have dots"
    assert problems == [
        Problem(str(root / "mall_gt.mat"), what, "the image is left out", "annotations-unusable"),
    ]


def test_a_region_of_another_size_leaves_the_image_out(tmp_path: Path) -> None:
    crowds.mall(tmp_path)
    savemat(tmp_path / "perspective_roi.mat", {"roi": {"mask": np.ones((9, 7))}, "pMapN": np.ones((9, 7))})
    found, problems = ready("mall", tmp_path)
    assert found == []
    assert problems[0].what == "its region of interest is 7 x 9 px, the image 64 x 48 px"


@pytest.mark.parametrize(("fold", "splits"), [(1, ["test", "train"]), (2, ["train", "test"]), (3, ["train", "train"])])
def test_a_fold_of_ten_images_is_the_test_split(fold: int, splits: list[str]) -> None:
    found, _ = samples("ucf_cc_50", RAW / "ucf_cc_50", fold=fold)
    assert [sample.split for sample in found] == splits


def test_every_image_of_ucf_cc_50_is_tested_in_exactly_one_fold(tmp_path: Path) -> None:
    for number in range(1, 51):
        shutil.copy(RAW / "ucf_cc_50/2.jpg", tmp_path / f"{number}.jpg")
        shutil.copy(RAW / "ucf_cc_50/2_ann.mat", tmp_path / f"{number}_ann.mat")
    folds = [[s.id for s in samples("ucf_cc_50", tmp_path, fold=f)[0] if s.split == "test"] for f in range(1, 6)]
    assert [len(fold) for fold in folds] == [10] * 5
    assert sorted(chain(*folds), key=int) == [str(number) for number in range(1, 51)]


def test_files_of_ucf_cc_50_that_are_in_no_fold_are_named(tmp_path: Path) -> None:
    for name in ("1", "0", "51", "02", "more"):
        shutil.copy(RAW / "ucf_cc_50/2.jpg", tmp_path / f"{name}.jpg")
        shutil.copy(RAW / "ucf_cc_50/2_ann.mat", tmp_path / f"{name}_ann.mat")
    found, problems = samples("ucf_cc_50", tmp_path, fold=1)
    assert [(sample.id, sample.split) for sample in found] == [("1", "test")]
    lost = {f"{name}{end}" for name in ("0", "51", "02", "more") for end in (".jpg", "_ann.mat")}
    assert {Path(problem.file).name for problem in problems} == lost
    assert all(problem.lost and problem.what.startswith("its name is not one of 1 to 50") for problem in problems)


def test_a_fold_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match="fold: Input should be less than or equal to 5, not 6"):
        build("ucf_cc_50", RAW / "ucf_cc_50", fold=6)


def test_images_whose_dots_are_not_public_are_no_samples_of_nwpu() -> None:
    found, problems = samples("nwpu", RAW / "nwpu")
    assert [sample.id for sample in found] == ["train-0001", "test-3110"]
    assert problems == []


def test_a_number_of_nwpu_that_differs_is_reported_and_the_dots_count(copy: Callable[[str], Path]) -> None:
    root = copy("nwpu")
    (root / "jsons/0001.json").write_text(json.dumps({"points": [[1, 2.5]], "human_num": 3}))
    found, problems = samples("nwpu", root)
    assert found[0].dots.tolist() == [[1, 2.5]]
    assert problems == [
        Problem(str(root / "jsons/0001.json"), "says 3 people, has 1 dots", "the dots count", "count-differs")
    ]


def test_a_line_of_jhu_that_is_none_is_named_and_its_image_left_out(copy: Callable[[str], Path]) -> None:
    root = copy("jhu")
    truth = root / "train/gt/0001.txt"
    truth.write_text("1 2 3 4 1 0\n1 2 3 4 1\n")
    found, problems = samples("jhu", root)
    assert [sample.split for sample in found] == ["val"]
    what = "line 2: '1 2 3 4 1' is not x y width height occlusion blur: correct it"
    assert problems == [Problem(str(truth), what, "the image is left out", "annotations-unusable")]


def test_jhu_s_test_half_is_the_test_split(copy: Callable[[str], Path]) -> None:
    root = copy("jhu")
    (root / "val").rename(root / "test")
    assert [(sample.id, sample.split) for sample in samples("jhu", root)[0]] == [
        ("train-0001", "train"),
        ("test-0002", "test"),
    ]


def test_an_empty_file_of_jhu_is_an_image_that_shows_nobody(copy: Callable[[str], Path]) -> None:
    root = copy("jhu")
    (root / "train/gt/0001.txt").write_text("")
    found, problems = samples("jhu", root)
    assert found[0].dots.shape == (0, 2)
    assert problems == []


def test_worldexpo_s_polygon_is_its_region_of_interest(tmp_path: Path) -> None:
    crowds.worldexpo(tmp_path, ((0, 0), (64, 0), (0, 48)))  # the triangle above the falling diagonal's mirror
    found, problems = ready("worldexpo", tmp_path)
    for seed, image in enumerate(found):
        x, y = scene(PARAMS, seed)[1].round(2).T
        side = x / 64 + y / 48  # below 1 inside; pixels on the border belong to either side
        clear = np.abs(side - 1) > 2 / 48
        assert clear.sum() > 5
        kept = {tuple(dot) for dot in image.dots.tolist()}
        for place, inside in zip(np.column_stack([x, y])[clear].tolist(), side[clear] < 1, strict=True):
            assert (tuple(place) in kept) == inside
        assert problems[seed].what == f"{len(x) - len(kept)} dots outside the region of interest"


def test_worldexpo_gives_scenes_perspective_and_halves() -> None:
    found, _ = samples("worldexpo", RAW / "worldexpo")
    assert [sample.id for sample in found] == ["train-100156_C09-00", "test-104207_C09-01"]
    assert [sample.scene for sample in found] == ["100156", "104207"]
    for sample in found:
        assert sample.roi is not None
        assert sample.perspective is not None
        assert sample.roi.all()
        np.testing.assert_allclose(sample.perspective, crowds.perspective())


def test_another_scene_is_not_tested(copy: Callable[[str], Path]) -> None:
    root = copy("worldexpo")
    (root / "test_label/104207").rename(root / "test_label/999999")
    found, problems = samples("worldexpo", root)
    assert [sample.split for sample in found] == ["train"]
    assert problems[0].what.startswith("scene 999999 is not one of the test scenes 104207, ")


@pytest.mark.parametrize("file", ["train_label/100156/roi.mat", "train_perspective/100156.mat"])
@pytest.mark.parametrize("damage", ["missing", "noise", "text"])
def test_a_scene_without_region_or_perspective_is_left_out(copy: Callable[[str], Path], file: str, damage: str) -> None:
    root = copy("worldexpo")
    (root / file).unlink()
    if damage == "noise":
        (root / file).write_bytes(b"noise")
    if damage == "text":
        savemat(root / file, dict.fromkeys(["pMap", "maskVerticesXCoordinates", "maskVerticesYCoordinates"], "here"))
    found, problems = samples("worldexpo", root)
    assert [sample.split for sample in found] == ["test"]
    assert str(root / file) in problems[0].what


@pytest.mark.real
def test_mall_s_perspective_is_pixels_per_metre(real: Path) -> None:
    """Adults of frames 1 and 300, outlined by eye: the rows of their head's top, of their feet, and of their dot."""
    adults = [
        (187, 274, 193),
        (221, 315, 229),
        (297, 408, 315),
        (291, 408, 300),
        (66, 119, 66),
        (67, 121, 70),
        (240, 348, 249),
        (120, 197, 126),
        (86, 148, 93),
        (117, 204, 123),
        (197, 294, 206),
        (204, 301, 208),
        (232, 337, 242),
        (232, 329, 240),
        (311, 441, 322),
        (333, 461, 348),
        (330, 461, 342),
        (349, 479, 358),
        (130, 200, 136),
    ]
    perspective = samples("mall", real / "mall")[0][0].perspective
    assert perspective is not None
    metres = [(feet - top) / perspective[dot, 0] for top, feet, dot in adults]
    assert np.mean(metres) == pytest.approx(1.75, abs=0.03)
    assert np.std(metres) < 0.15
    assert (perspective == perspective[:, :1]).all()
    steps = np.diff(perspective[:, 0])
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-3)
    assert steps.mean() > 0.1  # people grow towards the camera, at the bottom


@pytest.mark.real
def test_mall_s_real_frames_are_read_whole(real: Path) -> None:
    found, problems = samples("mall", real / "mall")
    assert problems == []
    assert [sample.id for sample in found] == [f"seq_{number:06d}" for number in range(1, 401)]
    counts = [len(sample.dots) for sample in found]
    assert counts == loadmat(real / "mall/ground_truth.mat")["count"].ravel().tolist()
    assert sum(counts) == 10_357
    roi = found[0].roi
    assert roi is not None
    assert roi.shape == (480, 640)
    dots = np.concatenate([sample.dots for sample in found])
    assert len(drop_dots_outside(roi, dots, "mall", problems)) == 10_357
    assert problems == []
