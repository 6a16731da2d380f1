"""The made crowd, and ShanghaiTech in both spellings."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from components.config import plugins
from components.config.options import Choice
from components.crowd import Dataset, Problem
from components.datasets import shanghaitech, synthetic
from components.errors import UserError
from tests.raw.make import write_truth

RAW = Path(__file__).parents[1] / "raw" / "shanghaitech"


def test_every_made_image_is_a_sample() -> None:
    dataset = synthetic.build(synthetic.Params(images=3, height=48, width=64))
    samples = list(dataset.samples([]))
    assert isinstance(dataset, Dataset)
    assert len(dataset) == len({sample.id for sample in samples}) == 3
    assert {sample.split for sample in samples} == {None}


def scenes(**options: int) -> list:
    return list(synthetic.build(synthetic.Params(**({"height": 96, "width": 128} | options))).samples([]))


def test_a_seed_gives_the_same_bytes_whatever_the_number_of_images() -> None:
    three, five = scenes(images=3, seed=4), scenes(images=5, seed=4)
    for first, second in zip(three, five, strict=False):
        assert first.image.tobytes() == second.image.tobytes()
        assert first.dots.tobytes() == second.dots.tobytes()
    assert scenes(images=1, seed=5)[0].image.tobytes() != three[0].image.tobytes()


def test_counts_are_spread_evenly_over_the_logarithm() -> None:
    rng = np.random.default_rng(0)
    params = synthetic.Params(low=10, high=600)
    counts = np.array([synthetic._count(rng, params) for _ in range(4000)])
    assert counts.min() >= 10
    assert counts.max() <= 600
    middle = np.sqrt(11 * 601) - 1  # half of the logarithm's way from 10 + 1 to 600 + 1
    assert abs((counts < middle).mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)


@pytest.mark.parametrize(("height", "width", "count"), [(96, 128, 600), (192, 256, 37), (33, 41, 0), (50, 40, 1)])
def test_a_scene_has_exactly_its_count_of_heads_inside(height: int, width: int, count: int) -> None:
    image, dots = synthetic.scene(synthetic.Params(height=height, width=width, low=count, high=count), 0)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert len(dots) == count
    assert ((dots >= 0) & (dots <= (width, height))).all()


def test_people_far_away_are_smaller() -> None:
    _, dots = synthetic.scene(synthetic.Params(height=192, width=256, low=200, high=200), 3)
    rng = np.random.default_rng([0, 3])
    params = synthetic.Params(height=192, width=256, low=200, high=200)
    view = synthetic._view(rng, params, synthetic._count(rng, params))
    nearest, farthest = view.head(3 * dots[:, 1].max()), view.head(3 * dots[:, 1].min())
    assert nearest > 1.5 * farthest
    assert farthest >= 2 * synthetic.OVERSAMPLING - 1e-9


def test_heads_are_drawn_where_the_dots_are() -> None:
    """Around dots, images are more uneven than elsewhere: a mean over scenes of the local spread of grey values."""
    ratios = []
    for number in range(8):
        image, dots = synthetic.scene(synthetic.Params(height=96, width=128, low=30, high=40), number)
        grey = image.mean(axis=2)
        columns, rows = np.clip(dots.astype(int), 3, (124, 92)).T
        patch = [grey[y - 3 : y + 4, x - 3 : x + 4].std() for x, y in zip(columns, rows, strict=True)]
        mirrored = [grey[y - 3 : y + 4, 127 - x - 3 : 127 - x + 4].std() for x, y in zip(columns, rows, strict=True)]
        ratios.append(np.mean(patch) / np.mean(mirrored))
    assert np.mean(ratios) > 1.1


def test_low_above_high_is_refused() -> None:
    with pytest.raises(UserError, match=r"here: low \(9\) must not be above high \(5\)"):
        plugins.resolve("dataset", Choice(kind="synthetic", low=9, high=5), "here")


def read(root: Path, part: str) -> tuple[list, list[Problem]]:
    problems: list[Problem] = []
    return list(shanghaitech.build(shanghaitech.Params(root=root, part=part)).samples(problems)), problems


def test_both_spellings_are_read_in_the_order_of_the_numbers() -> None:
    samples, _ = read(RAW, "A")
    assert [sample.id for sample in samples] == ["train-IMG_2", "train-IMG_10", "test-IMG_1", "test-IMG_2"]
    samples, _ = read(RAW, "B")
    assert [(sample.id, sample.split) for sample in samples] == [("train-IMG_1", "train"), ("train-IMG_2", "train")]
    samples, _ = read(RAW / "part_B_final", "B")
    assert len(samples) == 2


def test_a_missing_folder_is_one_line_that_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no train_data or test_data in .*part_B, .*part_B_final, .*download") as error:
        read(tmp_path / "nowhere", "B")
    assert "\n" not in str(error.value)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "part_A/train_data/images").mkdir(parents=True)
    with pytest.raises(UserError, match="part A has no image with its dots"):
        read(tmp_path, "A")


@pytest.fixture
def part_b(tmp_path: Path) -> Path:
    """A copy of the tiny part B that a test may damage: its training half."""
    shutil.copytree(RAW / "part_B_final", tmp_path / "part_B")
    return tmp_path / "part_B" / "train_data"


def test_an_image_without_dots_and_dots_without_an_image_are_left_out(part_b: Path) -> None:
    (part_b / "ground_truth/GT_IMG_1.mat").rename(part_b / "ground_truth/GT_IMG_9.mat")
    samples, problems = read(part_b.parents[1], "B")
    assert [sample.id for sample in samples] == ["train-IMG_2"]
    assert problems == [
        Problem(str(part_b / "images/IMG_1.jpg"), "has no .mat with its dots", "left out", "image-unlisted"),
        Problem(str(part_b / "ground_truth/GT_IMG_9.mat"), "has no image", "left out", "image-missing"),
    ]


def test_a_count_that_differs_from_the_dots_is_reported_and_the_dots_count(part_b: Path) -> None:
    truth = part_b / "ground_truth/GT_IMG_1.mat"
    write_truth(truth, np.array([[1.0, 2.0], [3.0, 4.0]]), number=5)
    samples, problems = read(part_b.parents[1], "B")
    assert samples[0].dots.tolist() == [[1, 2], [3, 4]]
    assert problems == [Problem(str(truth), "says 5 people, has 2 dots", "the dots count", "count-differs")]


def test_an_image_without_people_has_no_dots(part_b: Path) -> None:
    write_truth(part_b / "ground_truth/GT_IMG_1.mat", np.zeros((0, 0)))
    samples, problems = read(part_b.parents[1], "B")
    assert samples[0].dots.shape == (0, 2)
    assert problems == []


def damage(path: Path, how: str) -> None:
    if how == "no mat":
        path.write_bytes(b"nothing of the kind")
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:150])
    elif how == "another variable":
        savemat(path, {"points": np.zeros((3, 2))})
    elif how == "plain array":
        savemat(path, {"image_info": np.zeros((3, 2))})
    elif how == "three columns":
        write_truth(path, np.zeros((4, 3)))
    elif how == "text":
        write_truth(path, np.array(["here", "there"]))


@pytest.mark.parametrize("how", ["no mat", "cut", "another variable", "plain array", "three columns", "text"])
def test_a_damaged_mat_is_quarantined(part_b: Path, how: str) -> None:
    truth = part_b / "ground_truth/GT_IMG_1.mat"
    damage(truth, how)
    samples, problems = read(part_b.parents[1], "B")
    assert [sample.id for sample in samples] == ["train-IMG_2"]
    assert [(problem.file, problem.action) for problem in problems] == [(str(truth), "the image is left out")]


@pytest.mark.real
@pytest.mark.parametrize(
    ("part", "half", "images", "dots"),
    [("A", "train", 300, 162_413), ("B", "train", 400, 49_151), ("B", "test", 316, 39_121)],
)
def test_real_parts_are_read_whole(real: Path, part: str, half: str, images: int, dots: int) -> None:
    problems: list[Problem] = []
    params = shanghaitech.Params(root=real / "shanghaitech", part=part, halves=(half,))
    samples = list(shanghaitech.build(params).samples(problems))
    assert {sample.split for sample in samples} == {half}
    assert len(samples) == images
    assert sum(len(sample.dots) for sample in samples) == dots
    assert problems == []


def test_a_half_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "part_A/train_data").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no test_data in "):
        shanghaitech.build(shanghaitech.Params(root=tmp_path, part="A", halves=("test",)))


@pytest.mark.real
def test_part_a_has_eleven_grey_images(real: Path) -> None:
    samples, _ = read(real / "shanghaitech", "A")
    assert sum(Image.open(sample.image).mode == "L" for sample in samples) == 11
