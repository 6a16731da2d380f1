"""COCO: what its files may hold besides plain dots, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.own_data import read, said


def coco(root: Path, annotations: list[object]) -> None:
    content = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": "8", "file_name": "b.jpg"}],
        "categories": [{"id": 0, "name": "person", "keypoints": ["nose", "eye"]}, {"id": 2, "name": "dog"}],
        "annotations": annotations,
    }
    (root / "coco.json").write_text(json.dumps(content))


def test_coco_gives_one_dot_an_object_and_leaves_out_what_it_cannot_read(root: Path) -> None:
    person = {"image_id": 7, "category_id": "0"}
    good = [
        {"id": 2, "keypoints": [0, 0, 0, 5, 6, 2], "bbox": []} | person,
        {"id": 3, "keypoints": None, "iscrowd": None} | person,
        {"id": 5, "image_id": 9, "category_id": 0, "keypoints": [1, 1, 2]},
        {"id": 6, "keypoints": [1, 1, 2]},
        {"id": 7, "image_id": 8, "category_id": 2, "keypoints": [7, 8, 2]},
    ]
    coco(root, good)
    dots, problems = read("coco", root)
    assert dots == {"a.jpg": [[5, 6]], "more/b.jpg": [[7, 8]]}
    assert said(problems) == [
        ("coco.json: annotation 3", "has no labelled keypoint"),
        ("coco.json: annotation 5", "image_id 9 is not in `images`"),
        ("coco.json: annotations[3]", "image_id: Field required"),
    ]
    coco(root, [*good, {"id": 1, "keypoints": [1, 2, 2, 3, 4, 1]} | person, {"id": 4, "iscrowd": 1} | person])
    dots, problems = read("coco", root)
    assert dots == {"more/b.jpg": [[7, 8]]}
    several = "annotation 1 has 2 labelled keypoints, not one: set `keypoint` to one of nose, eye"
    fault = f"a.jpg cannot be used: {several}; annotation 4 marks a group (iscrowd), not one object"
    assert said(problems)[-1] == ("coco.json", fault)
    coco(root, [{"id": 1, "keypoints": [1, 2, 2, 3, 4, 1]} | person])
    assert read("coco", root, keypoint="nose", labels=["person"])[0] == {"a.jpg": [[1, 2]], "more/b.jpg": []}


def test_coco_s_boxes_count_at_their_centres(root: Path) -> None:
    boxes = [{"image_id": 7, "bbox": [10, 20, 4, 6]}, {"id": 2, "image_id": "8", "keypoints": [1, 1, 2]}]
    coco(root, boxes)
    dots, problems = read("coco", root, dots="boxes")
    assert dots == {"a.jpg": [[12, 23]]}
    assert said(problems) == [
        ("coco.json: annotation 2", "has no bbox"),
        ("coco.json", "more/b.jpg cannot be used: has 1 objects and no dot"),
    ]
    coco(root, [boxes[0], {"id": 3, "image_id": 7, "bbox": []}])
    assert "a.jpg" not in read("coco", root, dots="boxes")[0]


def test_an_id_of_coco_that_stands_for_two_images_is_no_sum(root: Path) -> None:
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": "1", "file_name": "b.jpg"}]
    annotations = [{"image_id": 1, "keypoints": [1, 1, 2]}, {"image_id": 1, "keypoints": [2, 2, 2]}]
    (root / "coco.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    dots, problems = read("coco", root)
    assert dots == {}
    fault = "cannot be used: the id 1 stands for 'a.jpg' and 'b.jpg'"
    assert said(problems) == [("coco.json", f"a.jpg {fault}"), ("coco.json", f"more/b.jpg {fault}")]


@pytest.mark.parametrize("written", ["A.JPG", "https://host/x/a.jpg?sig=b%2F", "yard\\a.jpg", "/home/me/yard/a.jpg"])
def test_names_that_differ_as_tools_write_them_are_found(root: Path, written: str) -> None:
    coco(root, [])
    content = {"images": [{"id": 1, "file_name": written}], "annotations": [{"image_id": 1, "keypoints": [1, 2, 2]}]}
    (root / "coco.json").write_text(json.dumps(content))
    assert read("coco", root)[0] == {"a.jpg": [[1, 2]]}
