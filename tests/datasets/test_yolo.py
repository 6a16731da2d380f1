"""YOLO's text files: a dot is the middle of a box; an empty file shows nobody, a missing one was not labelled."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from components.config import plugins
from components.errors import UserError
from tests.own_data import read, said, splits

SIZE = (80, 40)
NOT_LABELLED = "left out: it is not labelled; an empty file says that it shows nobody"


def labelled(root: Path, image: str, labels: str, *lines: str) -> None:
    for name in (image, labels):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE).save(root / image)
    (root / labels).write_text("\n".join(lines))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ultralytics' layout: two images for training, one held out."""
    labelled(tmp_path, "images/train/a.jpg", "labels/train/a.txt", "0 0.25 0.5 0.1 0.1", "1 0.5 0.75 0.1 0.2", "")
    labelled(tmp_path, "images/train/b.jpg", "labels/train/b.txt")
    labelled(tmp_path, "images/val/a.jpg", "labels/val/a.txt", "0 1 0 0.1 0.1")
    return tmp_path


def test_the_middles_of_boxes_are_dots_in_pixels(root: Path) -> None:
    assert read("yolo", root) == (
        {"images/train/a.jpg": [[20, 20], [40, 30]], "images/train/b.jpg": [], "images/val/a.jpg": [[80, 0]]},
        [],
    )
    found = {"images/train/a.jpg": "train", "images/train/b.jpg": "train", "images/val/a.jpg": "val"}
    assert splits("yolo", root) == (found, [])
    assert [(found.kind, found.options) for found in plugins.recognise(root)] == [("yolo", {})]


@pytest.mark.parametrize(
    ("file", "text"),
    [("data.yaml", "names: [head, hat]"), ("data.yaml", "names: {0: head, 1: hat}"), ("classes.txt", "head\nhat\n")],
)
@pytest.mark.parametrize("wanted", ["1", "hat"])
def test_classes_are_chosen_by_number_or_name(root: Path, file: str, text: str, wanted: str) -> None:
    (root / file).write_text(text)
    dots, problems = read("yolo", root, classes=[wanted])
    assert dots == {"images/train/a.jpg": [[40, 30]], "images/train/b.jpg": [], "images/val/a.jpg": []}
    assert problems == []


def test_a_class_that_nothing_has_is_said_with_those_that_there_are(root: Path) -> None:
    (root / "data.yaml").write_text("names: [head, hat]")
    dots, problems = read("yolo", root, classes=["heads"])
    assert dots == {}
    assert problems[0].what.startswith("nothing has what `classes` names: 'heads'; there are: '0', '1', 'hat', 'head'")


def test_train_and_valid_may_stand_above_images_and_labels(tmp_path: Path) -> None:
    labelled(tmp_path, "train/images/a.jpg", "train/labels/a.txt", "0 0.5 0.5 1 1")
    labelled(tmp_path, "valid/images/b.jpg", "valid/labels/b.txt", "0 0.5 0.5 1 1")
    assert splits("yolo", tmp_path)[0] == {"train/images/a.jpg": "train", "valid/images/b.jpg": "val"}


def test_labels_may_lie_beside_their_images(tmp_path: Path) -> None:
    labelled(tmp_path, "a.jpg", "a.txt", "0 0.5 0.5 1 1")
    (tmp_path / "classes.txt").write_text("head\n")
    assert read("yolo", tmp_path) == ({"a.jpg": [[40, 20]]}, [])


def test_an_image_without_a_file_is_not_labelled_and_a_file_without_an_image_is_named(root: Path) -> None:
    (root / "labels/train/b.txt").unlink()
    (root / "images/val/a.jpg").unlink()
    dots, problems = read("yolo", root)
    assert [*dots] == ["images/train/a.jpg"]
    assert [(Path(problem.file).name, problem.what, problem.action) for problem in problems] == [
        ("a.txt", "has no image", "its dots (1) are dropped"),
        (
            "b.jpg",
            "has no .txt with its labels",
            NOT_LABELLED,
        ),
    ]


def test_a_folder_without_labels_is_said_to_be_that(root: Path) -> None:
    for name in ("x", "y", "z"):
        (root / "images/test").mkdir(exist_ok=True)
        Image.new("RGB", SIZE).save(root / f"images/test/{name}.jpg")
    ((file, what),) = said(read("yolo", root)[1])
    assert (file, what[:56]) == ("test", "3 of the 3 images in this folder are not labelled in any")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0 0.5 0.5 0.1", "is not class x y width height of a box"),
        ("0 0.1 0.1 0.9 0.1 0.5 0.9", "is not class x y width height of a box"),
        ("head 0.5 0.5 0.1 0.1", "is not a number of a class and fractions from 0 to 1"),
        ("0 40 20 8 8", "is not a number of a class and fractions from 0 to 1"),
        ("0 nan 0.5 0.1 0.1", "is not a number of a class and fractions from 0 to 1"),
    ],
)
def test_a_line_that_is_no_box_leaves_its_image_out(root: Path, line: str, why: str) -> None:
    (root / "labels/train/a.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    dots, problems = read("yolo", root)
    assert [*dots] == ["images/train/b.jpg", "images/val/a.jpg"]
    assert said(problems) == [("a.txt", f"images/train/a.jpg cannot be used: line 2: {line!r} {why}")]


def test_two_images_of_one_file_of_labels_are_left_out(root: Path) -> None:
    Image.new("RGB", SIZE).save(root / "images/train/a.png")
    dots, problems = read("yolo", root)
    assert [*dots] == ["images/train/b.jpg", "images/val/a.jpg"]
    assert "images/train/a.jpg and images/train/a.png share a.txt: keep one of them" in problems[0].what


def test_what_names_no_classes_is_an_error_that_names_the_file(root: Path) -> None:
    (root / "data.yaml").write_text("nc: 2")
    with pytest.raises(UserError, match=r"data\.yaml: names no classes"):
        read("yolo", root)


def test_the_halves_of_data_yaml_go_before_names_of_folders(tmp_path: Path) -> None:
    for part in ("north", "south", "held"):
        labelled(tmp_path, f"images/{part}/a.jpg", f"labels/{part}/a.txt", "0 0.5 0.5 1 1")
    text = "path: ../datasets/heads\ntrain: [images/north, images/south]\nval: images/held\ntest:\nnames: [head]"
    (tmp_path / "data.yaml").write_text(text)
    found = {"images/held/a.jpg": "val", "images/north/a.jpg": "train", "images/south/a.jpg": "train"}
    assert splits("yolo", tmp_path) == (found, [])
    given = {"train": "images/north", "test": "images/south", "val": "images/held"}
    assert splits("yolo", tmp_path, halves=given)[0]["images/south/a.jpg"] == "test"


def test_paths_of_data_yaml_may_start_with_two_dots_as_tools_write_them(tmp_path: Path) -> None:
    labelled(tmp_path, "one/images/a.jpg", "one/labels/a.txt", "0 0.5 0.5 1 1")
    labelled(tmp_path, "two/images/b.jpg", "two/labels/b.txt", "0 0.5 0.5 1 1")
    (tmp_path / "data.yaml").write_text("train: ../one/images\nvalid: ../two/images\nnames: [head]")
    assert splits("yolo", tmp_path) == ({"one/images/a.jpg": "train", "two/images/b.jpg": "val"}, [])


def test_data_yaml_may_name_files_that_list_images(root: Path) -> None:
    labelled(root, "images/train/c.jpg", "labels/train/c.txt", "0 0.5 0.5 1 1")
    (root / "data.yaml").write_text("train: train.txt\ntest: images/val\nnames: [head, hat]")
    (root / "train.txt").write_text("./images/train/a.jpg\n\nimages/train/b.jpg\n./images/train/gone.jpg\n")
    found, problems = splits("yolo", root)
    assert found == {"images/train/a.jpg": "train", "images/train/b.jpg": "train", "images/val/a.jpg": "test"}
    assert said(problems) == [
        ("train.txt:4", f"there is no image './images/train/gone.jpg' in {root}"),
        ("c.txt", "images/train/c.jpg cannot be used: data.yaml has it in no half"),
    ]
    assert all(problem.lost for problem in problems)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("train: ../../elsewhere", r"data\.yaml: train: there is no '../../elsewhere' in"),
        ("train: {outside}", r"data\.yaml: train: there is no '/.*' in"),
        ("train: link", r"data\.yaml: train: there is no 'link' in"),
        ("train: images/train\nval: images/valid", r"data\.yaml: val: there is no 'images/valid' in"),
        ("train: images\nval: images/val", r"data\.yaml: val: images/val/a\.jpg is in train too; set `halves`"),
        ("train: labels", r"data\.yaml: train: there is no image in 'labels'"),
    ],
)
def test_a_half_of_data_yaml_that_cannot_be_is_refused(root: Path, tmp_path_factory, text: str, why: str) -> None:
    outside = tmp_path_factory.mktemp("outside")
    labelled(outside, "images/x.jpg", "labels/x.txt", "0 0.5 0.5 1 1")
    (root / "link").symlink_to(outside)
    (root / "data.yaml").write_text(f"names: [head]\n{text.format(outside=outside)}")
    with pytest.raises(UserError, match=why):
        read("yolo", root)
