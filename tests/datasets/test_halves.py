"""Own halves: by folders, by files, by a column; a layout that looks like halves is never mixed without a word."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from components.config import plugins
from components.datasets.shared.halves import held_out_folders, split_in_name
from components.errors import UserError
from tests.own_data import read, splits

TRAIN, TEST = "train/a.jpg", "test/b.jpg"


def points(root: Path) -> None:
    (root / "dots.csv").write_text(f"image,x,y\n{TRAIN},1,2\n{TEST},3,4\n")


def coco(root: Path) -> None:
    images = [{"id": number, "file_name": name} for number, name in enumerate((TRAIN, TEST))]
    annotations = [{"image_id": number, "keypoints": [1, 2, 2]} for number in (0, 1)]
    (root / "all.json").write_text(json.dumps({"images": images, "annotations": annotations}))


def cvat(root: Path) -> None:
    images = "".join(f'<image name="{name}"><points label="x" points="1,2"/></image>' for name in (TRAIN, TEST))
    (root / "all.xml").write_text(f"<annotations>{images}</annotations>")


def via(root: Path) -> None:
    region = {"shape_attributes": {"name": "point", "cx": 1, "cy": 2}}
    images = {name: {"filename": name, "regions": [region]} for name in (TRAIN, TEST)}
    (root / "via.json").write_text(json.dumps(images))


def label_studio(root: Path) -> None:
    tasks = [{"data": {"image": name}, "annotations": [{"result": []}]} for name in (TRAIN, TEST)]
    (root / "export.json").write_text(json.dumps(tasks))


def labelme(root: Path) -> None:
    for name in (TRAIN, TEST):
        (root / name).with_suffix(".json").write_text(json.dumps({"shapes": []}))


def dot_png(root: Path) -> None:
    for name in (TRAIN, TEST):
        Image.new("RGB", (8, 6)).save((root / name).with_name(f"{Path(name).stem}dots.png"))


WRITERS: tuple[Callable[[Path], None], ...] = (points, coco, cvat, via, label_studio, labelme, dot_png)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (TRAIN, TEST):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_folders_are_halves_for_every_kind_and_are_named_where_they_are_not(
    root: Path, write: Callable[[Path], None]
) -> None:
    write(root)
    kind = write.__name__
    (found,) = [each for each in plugins.recognise(root) if each.kind == kind]
    assert found.options["halves"] == {"train": "train", "test": "test"}
    by_id, problems = splits(kind, root, **found.options)
    assert [*by_id.values()] == ["test", "train"]
    assert problems == []
    mixed, problems = splits(kind, root, **{key: value for key, value in found.options.items() if key != "halves"})
    assert {*mixed.values()} == {None}
    what = "its folders train and test are called like halves, but `halves` is not set"
    assert [problem.what for problem in problems] == [what]
    assert "set `halves: {train: train, test: test}`" in problems[0].action


def test_an_image_outside_the_halves_is_for_training_unless_the_training_half_is_named(root: Path) -> None:
    points(root)
    assert splits("points", root, halves={"test": "test"}) == ({TEST: "test", TRAIN: None}, [])
    by_id, problems = splits("points", root, halves={"train": "test"})
    assert by_id == {TEST: "train"}
    assert problems[0].what == f"{TRAIN} lies in none of the `halves`"


def test_files_of_coco_for_training_and_validation_are_one_data_set(root: Path) -> None:
    for number, (split, name) in enumerate((("train", "a.jpg"), ("val", "b.jpg"))):
        content = {
            "images": [{"id": number, "file_name": name}],
            "annotations": [{"image_id": number, "bbox": [1, 1, 2, 2]}],
        }
        (root / "annotations").mkdir(exist_ok=True)
        (root / f"annotations/instances_{split}2017.json").write_text(json.dumps(content))
    (found,) = plugins.recognise(root)
    files = {split: f"annotations/instances_{split}2017.json" for split in ("train", "val")}
    assert (found.kind, found.options) == ("coco", {"halves": files, "dots": "boxes"})
    assert splits("coco", root, **found.options) == ({TEST: "val", TRAIN: "train"}, [])


def test_images_of_one_name_are_found_in_the_folder_of_their_half(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        Image.new("RGB", (8, 6)).save(tmp_path / split / "a.jpg")
        (tmp_path / f"{split}.csv").write_text("image,x,y\na.jpg,1,2\n")
    halves = {split: f"{split}.csv" for split in ("train", "test")}
    assert splits("points", tmp_path, halves=halves) == ({"test/a.jpg": "test", "train/a.jpg": "train"}, [])


def test_subsets_of_cvat_are_halves_and_tell_images_of_one_name_apart(tmp_path: Path) -> None:
    images = []
    for number, subset in enumerate(("Train", "Validation")):
        (tmp_path / f"images/{subset}").mkdir(parents=True)
        Image.new("RGB", (8, 6)).save(tmp_path / f"images/{subset}/a.jpg")
        points = '<points label="x" points="1,2"/>' * (number + 1)
        images.append(f'<image name="a.jpg" subset="{subset}">{points}</image>')
    (tmp_path / "annotations.xml").write_text(f"<annotations>{''.join(images)}</annotations>")
    found = {"images/Train/a.jpg": "train", "images/Validation/a.jpg": "val"}
    assert splits("cvat", tmp_path) == (found, [])
    assert [len(dots) for dots in read("cvat", tmp_path)[0].values()] == [1, 2]


def test_files_of_dots_may_lie_in_the_folders_of_the_halves(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        Image.new("RGB", (8, 6)).save(tmp_path / split / "a.jpg")
        content = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "bbox": [1, 1, 2, 2]}]}
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(content))
    (found,) = plugins.recognise(tmp_path)
    assert splits("coco", tmp_path, **found.options) == ({"train/a.jpg": "train", "valid/a.jpg": "val"}, [])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (("train", "Test"), {TEST: "test", TRAIN: "train"}),
        (("validation", ""), {TEST: None, TRAIN: "val"}),
        (("train", "holdout"), {TRAIN: "train"}),
    ],
)
def test_a_column_says_the_split(root: Path, rows: tuple[str, str], expected: dict[str, str | None]) -> None:
    (root / "dots.csv").write_text(f"image,x,y,split\n{TRAIN},1,2,{rows[0]}\n{TEST},3,4,{rows[1]}\n")
    by_id, problems = splits("points", root)
    assert by_id == expected
    if len(expected) == 1:
        assert "its split is 'holdout', not one of train, val, test" in problems[0].what


def test_a_column_that_is_asked_for_must_be_there(root: Path) -> None:
    points(root)
    _, problems = splits("points", root, split="half")
    assert problems[0].what.startswith("has no column 'half'; it has image, x, y")


def test_an_image_is_not_in_two_halves(root: Path) -> None:
    (root / "dots.csv").write_text(f"image,x,y,split\n{TRAIN},1,2,test\n{TEST},3,4,test\n")
    by_id, problems = splits("points", root, halves={"train": "train", "test": "test"})
    assert by_id == {TEST: "test"}
    assert problems[0].what == f"{TRAIN} is in train by its folder and in test by dots.csv:2"


@pytest.mark.parametrize("written", ["../train", "nowhere", "/tmp"])
def test_a_half_lies_below_the_root(root: Path, written: str) -> None:
    points(root)
    with pytest.raises(UserError, match=rf"halves\.test: there is no folder or file '{written}' in "):
        splits("points", root, halves={"test": written})


def test_names_of_folders_and_files_that_mean_a_split() -> None:
    assert held_out_folders(["images/train/a.jpg", "images/val2017/b.jpg"]) == {
        "train": "images/train",
        "val": "images/val2017",
    }
    assert held_out_folders(["train_data/images/a.jpg", "Test_Data/images/b.jpg"]) == {
        "train": "train_data",
        "test": "Test_Data",
    }
    assert held_out_folders(["train/a.jpg", "b.jpg"]) == {}  # nothing is held out
    assert held_out_folders(["test/a.jpg", "testing/b.jpg"]) == {}  # which one?
    assert held_out_folders(["testudo/a.jpg"]) == {}
    names = ("instances_val2017", "TRAIN", "train_and_val", "contest")
    assert [split_in_name(name) for name in names] == ["val", "train", None, None]
