"""LabelMe: what its files may hold besides plain dots, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.own_data import HEIGHT, WIDTH, read, said


def labelme(file: Path, *shapes: tuple[object, str | None, list], **fields: object) -> None:
    found = [{"label": label, "shape_type": kind, "points": points} for label, kind, points in shapes]
    file.write_text(json.dumps({"shapes": found} | fields))


def test_labelme_reads_points_and_leaves_out_what_is_none(root: Path) -> None:
    labelme(
        root / "a.json",
        ("head", "point", [[1, 2]]),
        (5, "points", [[3, 4], [5, 6]]),
        (None, None, [[7, 8]]),
        ("head", "point", []),
        ("zone", "polygon", [[0, 0], [9, 0], [9, 9]]),
    )
    labelme(root / "more/b.json")
    dots, problems = read("labelme", root)
    assert dots == {"a": [[1, 2], [3, 4], [5, 6], [7, 8]], "more/b": []}
    assert said(problems) == [
        ("a.json", "shapes without points: 1"),
        ("a.json", "a.jpg: 1 polygon labelled 'zone': not points"),
    ]
    assert read("labelme", root, labels=["5"])[0] == {"a": [[3, 4], [5, 6]], "more/b": []}


@pytest.mark.parametrize(
    ("shape", "fault"),
    [
        (("head", "circle", [[3, 4], [5, 6]]), "1 circle labelled 'head': not points; mark people with points"),
        (("head", "point", [[3]]), "shapes[1]: points.0.1: Field required"),
        (("head", "point", [[3, float("nan")]]), "shapes[1]: is no place in an image"),
    ],
)
def test_a_person_of_labelme_that_is_no_point_leaves_the_image_out(root: Path, shape: tuple, fault: str) -> None:
    labelme(root / "a.json", ("head", "point", [[1, 2]]), shape)
    labelme(root / "more/b.json")
    dots, problems = read("labelme", root)
    assert dots == {"more/b": []}
    assert said(problems)[0][1].startswith(f"a.jpg cannot be used: {fault}")


def test_rectangles_of_labelme_count_at_their_centres_if_asked(root: Path) -> None:
    labelme(root / "a.json", ("head", "rectangle", [[10, 20], [4, 30]]), ("head", "point", [[1, 1]]))
    labelme(root / "more/b.json", ("head", "rectangle", [[0, 0], [4, 4]]))
    assert read("labelme", root)[0] == {}
    assert read("labelme", root, dots="boxes") == ({"a": [[7, 25], [1, 1]], "more/b": [[2, 2]]}, [])


def test_of_two_images_of_one_name_the_one_counts_that_labelme_names(root: Path) -> None:
    Image.new("RGB", (8, 6)).save(root / "a.png")
    labelme(root / "more/b.json")
    labelme(root / "a.json", ("head", "point", [[1, 2]]), imagePath="C:\\shots\\a.JPG")
    dots, problems = read("labelme", root)
    assert dots == {"a": [[1, 2]], "more/b": []}
    assert said(problems) == [("a.png", "has no .json with its dots")]
    labelme(root / "a.json", ("head", "point", [[1, 2]]))
    dots, problems = read("labelme", root)
    assert dots == {"more/b": []}
    assert said(problems)[0] == ("a.json", f"'a' may be a.jpg or a.png: write its path from {root}")


def test_dots_are_scaled_to_the_image_as_it_is_and_both_sizes_said(root: Path) -> None:
    labelme(root / "a.json", ("head", "point", [[10, 20]]), imageWidth=2 * WIDTH, imageHeight=2 * HEIGHT)
    labelme(root / "more/b.json", ("head", "point", [[10, 20]]), imageWidth=WIDTH, imageHeight=2 * HEIGHT)
    dots, problems = read("labelme", root)
    assert dots == {"a": [[5, 10]]}
    assert said(problems) == [
        ("a.json", "a.jpg was annotated at 128 x 96 px and has 64 x 48 px"),
        ("b.json", "more/b.jpg was annotated at 64 x 96 px and has 64 x 48 px: annotate the image as it is"),
    ]


def test_the_size_of_an_image_is_that_of_the_turned_one(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter when shown
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "a.jpg", exif=exif)
    labelme(root / "more/b.json")
    labelme(root / "a.json", ("head", "point", [[10, 60]]), imageWidth=HEIGHT, imageHeight=WIDTH)
    assert read("labelme", root) == ({"a": [[10, 60]], "more/b": []}, [])


def test_a_label_that_nothing_has_is_said_with_those_that_there_are(root: Path) -> None:
    labelme(root / "a.json", ("Head ", "point", [[1, 2]]), ("car", "point", [[3, 4]]))
    labelme(root / "more/b.json")
    dots, problems = read("labelme", root, labels=["head"])
    assert dots == {}
    what = "nothing has what `labels` names: 'head'; there are: 'Head ', 'car'"
    assert said(problems) == [("a.json", f"{what}: set `labels` to some of these")]
    dots, problems = read("labelme", root, labels=["head", "car"])
    assert dots == {"a": [[3, 4]], "more/b": []}
    assert said(problems) == [("a.json", what)]


def test_an_image_of_labelme_whose_shapes_are_all_empty_does_not_show_nobody(root: Path) -> None:
    labelme(root / "a.json", ("head", "point", []))
    labelme(root / "more/b.json")
    dots, problems = read("labelme", root)
    assert dots == {"more/b": []}
    assert said(problems)[1] == ("a.json", "a.jpg cannot be used: none of its shapes has a point")
