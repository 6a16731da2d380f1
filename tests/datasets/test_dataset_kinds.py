"""What every kind of data set owes: its dots and its split, and problems instead of tracebacks for damaged files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest

from components.config import plugins
from components.config.options import Choice
from components.crowd import Dataset, Problem, RawSample
from components.data.decode import PreparedImage, prepare_images
from components.datasets.synthetic import scene
from components.errors import UserError
from tests.raw.tools import PARAMS, RAW


class Example(NamedTuple):
    """A tree of `tests/raw`: what it holds, and a file of each sort that a test may damage."""

    splits: list[str | None]
    image: str
    truth: str
    options: Mapping[str, Any] = MappingProxyType({})
    places: Callable[[np.ndarray], np.ndarray] = lambda dots: dots.round(2)  # what the format makes of dots


def middles(dots: np.ndarray) -> np.ndarray:
    """The middle of each dot's pixel, row by row."""
    columns, rows = np.floor(dots).T
    order = np.lexsort((columns, rows))
    return np.column_stack([columns, rows])[order] + 0.5


def exact(dots: np.ndarray) -> np.ndarray:
    return dots


HALVES = ["train", "test"]
OURS = [None, None]  # people's own data has no halves
EXAMPLES = {
    "shanghaitech": Example(
        ["train", "train", "test", "test"],
        "part_A/train_data/images/IMG_2.jpg",
        "part_A/train_data/ground-truth/GT_IMG_2.mat",
        {"part": "A"},
        exact,
    ),
    "points": Example(OURS, "shot_1.jpg", "dots.csv"),
    "coco": Example(OURS, "shot_1.jpg", "annotations/instances.json"),
    "labelme": Example(OURS, "shot_1.jpg", "shot_1.json"),
    "cvat": Example(OURS, "shot_1.jpg", "annotations.xml"),
    "label_studio": Example(OURS, "shot_1.jpg", "export.json"),
    "via": Example(OURS, "shot_1.jpg", "via_region_data.json"),
    "ucf_qnrf": Example(HALVES, "Train/img_0001.jpg", "Train/img_0001_ann.mat"),
    "ucf_cc_50": Example(HALVES, "2.jpg", "2_ann.mat", {"fold": 2}),
    "nwpu": Example(HALVES, "images/0001.jpg", "jsons/0001.json"),
    "jhu": Example(["train", "val"], "train/images/0001.jpg", "train/gt/0001.txt", places=np.floor),
    "mall": Example(["train", "train"], "frames/seq_000001.jpg", "mall_gt.mat"),
    "worldexpo": Example(HALVES, "train_frame/100156_C09-00.jpg", "train_label/100156/100156_C09-00.mat"),
    "yolo": Example(["train", "val"], "images/train/shot_1.jpg", "labels/train/shot_1.txt"),
    "dot_png": Example(OURS, "001cell.png", "001dots.png", places=middles),
}


def build(kind: str, root: Path) -> Dataset:
    options = Choice.model_validate({"kind": kind, "root": str(root)} | dict(EXAMPLES[kind].options))
    return plugins.build("dataset", kind, plugins.resolve("dataset", options, "test"))


def samples(kind: str, root: Path) -> tuple[list[RawSample], list[Problem]]:
    problems: list[Problem] = []
    return list(build(kind, root).samples(problems)), problems


def ready(kind: str, root: Path) -> tuple[list[PreparedImage], list[Problem]]:
    """As the prepare stage reads it."""
    problems: list[Problem] = []
    return list(prepare_images(build(kind, root), None, problems)), problems


def test_every_kind_but_the_made_crowd_has_an_example() -> None:
    assert {*EXAMPLES, "synthetic"} == {*plugins.kinds("dataset")}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_kind_gives_its_dots_and_its_split(kind: str) -> None:
    found, problems = samples(kind, RAW / kind)
    assert problems == []
    assert isinstance(build(kind, RAW / kind), Dataset)
    assert len(build(kind, RAW / kind)) == len(found)
    assert [sample.split for sample in found] == EXAMPLES[kind].splits
    assert len({sample.id for sample in found}) == len(found)
    for seed, sample in enumerate(found):
        assert sample.dots.dtype == np.float64
        np.testing.assert_allclose(sample.dots, EXAMPLES[kind].places(scene(PARAMS, seed)[1]), atol=1e-9)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_kind_alone_recognises_its_folder_and_can_be_built_so(kind: str) -> None:
    found = plugins.recognise(RAW / kind)
    assert {source.kind for source in found} == {kind}
    first = Choice.model_validate({"root": str(RAW / kind)} | found[0].model_dump())
    dataset = plugins.build("dataset", kind, plugins.resolve("dataset", first, "test"))
    assert len(dataset) == len(EXAMPLES[kind].splits)


def test_an_empty_folder_is_recognised_as_nothing(tmp_path: Path) -> None:
    assert plugins.recognise(tmp_path) == []


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_damaged_image_is_a_problem_that_names_it(kind: str, copy: Callable[[str], Path]) -> None:
    root = copy(kind)
    image = root / EXAMPLES[kind].image
    image.write_bytes(image.read_bytes()[:200])
    found, problems = ready(kind, root)
    assert len(found) == len(EXAMPLES[kind].splits) - 1
    assert [problem.file for problem in problems] == [str(image)]
    assert "cannot be decoded" in problems[0].what


DAMAGES = {"noise": b"\x89\xff\x00 of no format\n", "nothing": b"", "list": b"[[]]", "object": b'{"a": 1}'}


NOBODY = {("jhu", "nothing"), ("yolo", "nothing")}  # there, an empty file is right


@pytest.mark.parametrize(("kind", "how"), [case for case in product(EXAMPLES, DAMAGES) if case not in NOBODY])
def test_a_damaged_file_of_dots_is_a_problem_that_names_it(kind: str, how: str, copy: Callable[[str], Path]) -> None:
    root = copy(kind)
    truth = root / EXAMPLES[kind].truth
    truth.write_bytes(DAMAGES[how])
    found, problems = samples(kind, root)
    intact = {sample.id: sample.dots for sample in samples(kind, RAW / kind)[0]}
    assert any(problem.file.startswith(str(truth)) for problem in problems)
    assert len(found) < len(intact)
    for sample in found:
        assert sample.dots.tolist() == intact[sample.id].tolist()


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_file_of_dots_that_is_cut_off_is_no_traceback(kind: str, copy: Callable[[str], Path]) -> None:
    root = copy(kind)
    truth = root / EXAMPLES[kind].truth
    truth.write_bytes(truth.read_bytes()[: truth.stat().st_size // 2 - 3])
    _, problems = samples(kind, root)
    assert any(problem.file.startswith(str(truth)) for problem in problems)


@pytest.mark.parametrize("kind", EXAMPLES)
@pytest.mark.parametrize("there", [True, False])
def test_an_empty_or_missing_folder_is_an_error_that_names_it(kind: str, there: bool, tmp_path: Path) -> None:
    root = tmp_path / "here"
    if there:
        root.mkdir()
    with pytest.raises(UserError, match=str(root)) as error:
        build(kind, root)
    assert "\n" not in str(error.value)
