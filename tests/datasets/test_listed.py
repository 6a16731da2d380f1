"""A CSV or Parquet file of dots beside the pictures: each row is a dot, or a problem with its line."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.crowd import Problem
from components.errors import UserError
from tests.own_data import HEIGHT, WIDTH, read, said


def test_a_row_that_cannot_be_read_leaves_its_image_out(root: Path) -> None:
    rows = ["a.jpg,1,2", "b.jpg,3.5,4", "a.jpg,here,2", "a.jpg,nan,2", ",1,1", "a.jpg,5", "b.jpg,1,1"]
    (root / "dots.csv").write_text("\n".join(["image,x,y", *rows]))
    dots, problems = read("points", root)
    assert dots == {"more/b.jpg": [[3.5, 4], [1, 1]]}
    faults = "dots.csv:4: x is 'here', not a number; dots.csv:5: x is 'nan', not a place; "
    assert said(problems) == [
        ("dots.csv:6", "names no image"),
        ("dots.csv:2", f"a.jpg cannot be used: {faults}dots.csv:7: has 2 cells, the first row 3"),
    ]


def test_a_short_row_is_not_an_image_that_shows_nobody(root: Path) -> None:
    (root / "dots.csv").write_text("image,x,y\na.jpg\nb.jpg,,\n")
    dots, problems = read("points", root)
    assert dots == {"more/b.jpg": []}
    assert said(problems) == [("dots.csv:2", "a.jpg cannot be used: dots.csv:2: has 1 cells, the first row 3")]


def test_dots_in_one_place_add_and_a_table_that_was_pasted_twice_does_not(root: Path) -> None:
    rows = ["a.jpg,1,2", "a.jpg,1,2", "b.jpg,3,4", "b.jpg,5,6", "b.jpg,3,4", "b.jpg,5,6"]
    (root / "dots.csv").write_text("\n".join(["image,x,y", *rows]))
    dots, problems = read("points", root)
    assert dots == {"a.jpg": [[1, 2], [1, 2]]}
    assert said(problems) == [
        ("dots.csv:4", "more/b.jpg cannot be used: each of its dots is listed 2 times: the table lists it again")
    ]


def test_one_image_under_two_names_is_no_sum(root: Path) -> None:
    (root / "dots.csv").write_text("image,x,y\na.jpg,1,2\nb.jpg,3,4\nmore/b.jpg,5,6\nmore/b.jpg,7,8\n")
    dots, problems = read("points", root)
    assert dots == {"a.jpg": [[1, 2]]}
    twice = "1 dot as 'b.jpg' in dots.csv:3, 2 dots as 'more/b.jpg' in dots.csv:4"
    assert said(problems) == [("dots.csv:3", f"more/b.jpg is listed twice ({twice}): keep one of them")]


def test_fractions_are_told_apart_and_read_by_an_option(root: Path) -> None:
    (root / "dots.csv").write_text("image,x,y\na.jpg,0.25,0.5\na.jpg,0.5,0.75\nb.jpg,1,0\n")
    assert said(read("points", root)[1]) == [
        ("dots.csv", "all 3 dots lie within one pixel: set `units: fractions` if they are fractions")
    ]
    dots, problems = read("points", root, units="fractions")
    assert dots == {"a.jpg": [[WIDTH / 4, HEIGHT / 2], [WIDTH / 2, HEIGHT * 3 / 4]], "more/b.jpg": [[WIDTH, 0]]}
    assert problems == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_read_and_other_text_is_named(root: Path, encoding: str) -> None:
    text = "image,x,y\na.jpg,1,2\nb.jpg,,\n"
    (root / "dots.csv").write_text(text, encoding=encoding)
    assert read("points", root) == ({"a.jpg": [[1, 2]], "more/b.jpg": []}, [])
    (root / "dots.csv").write_text(text + "门.jpg,1,2\n", encoding="gbk")
    assert said(read("points", root)[1]) == [("dots.csv", f"is not UTF-8 text (byte {len(text)}): save it in UTF-8")]


def test_an_image_that_shows_nobody_is_listed_and_one_that_is_not_listed_is_left_out(root: Path) -> None:
    (root / "dots.csv").write_text("image,x,y\na.jpg,,\n")
    dots, problems = read("points", root)
    assert dots == {"a.jpg": []}
    assert problems == [
        Problem(
            str(root / "more/b.jpg"),
            "is not listed in dots.csv",
            "left out; list it, without dots if it shows nobody",
            "image-unlisted",
        )
    ]


def test_columns_and_the_delimiter_have_the_names_that_are_given(root: Path) -> None:
    (root / "dots.csv").write_text("﻿file;column;row;who\na.jpg;1;2;Jo\nb.jpg;3;4;Al\n", encoding="utf-8")
    dots, problems = read("points", root, image="file", x="column", y="row", delimiter=";")
    assert dots == {"a.jpg": [[1, 2]], "more/b.jpg": [[3, 4]]}
    assert problems == []
    _, problems = read("points", root, delimiter=";")
    assert said(problems)[0][1].startswith("has no column 'image'; it has file, column, row, who: set `image`")


def test_parquet_gives_what_csv_gives(root: Path) -> None:
    table = {"image": ["a.jpg", "b.jpg", "a.jpg", "b.jpg"], "x": [1.5, None, None, 3.0], "y": [2.5, None, 1.0, 4.0]}
    pq.write_table(pa.table(table), root / "dots.parquet")
    dots, problems = read("points", root)
    assert dots == {"more/b.jpg": [[3, 4]]}
    fault = "a.jpg cannot be used: dots.parquet: row 3: x is None, not a number"
    assert said(problems) == [("dots.parquet: row 1", fault)]


def test_names_that_fit_no_image_or_several_are_one_problem_each(root: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "more/a.jpg")
    (root / "dots.csv").write_text("image,x,y\nc.jpg,1,2\nmore/a.jpg,1,1\nc.jpg,3,4\nelse/a.jpg,1,1\nb.jpg,,\na.jpg,,")
    dots, problems = read("points", root)
    assert dots == {"a.jpg": [], "more/a.jpg": [[1, 1]], "more/b.jpg": []}
    assert [(Path(file).name, what, action) for file, what, action, _ in problems] == [
        ("dots.csv:2", f"there is no image 'c.jpg' in {root}", "its dots (2) are dropped; add the image or correct it"),
        (
            "dots.csv:5",
            f"'else/a.jpg' may be a.jpg or more/a.jpg: write its path from {root}",
            "its dots (1) are dropped; add the image or correct it",
        ),
    ]


def test_an_annotation_never_leads_out_of_the_folder(root: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "secret.jpg")
    (root / "more/dots.csv").write_text(f"image,x,y\n../secret.jpg,1,2\n{root}/secret.jpg,1,2\nb.jpg,1,1\n")
    dots, problems = read("points", root / "more")
    assert dots == {"b.jpg": [[1, 1]]}
    assert len(problems) == 2


def test_several_files_that_may_hold_the_dots_are_an_error_until_one_is_chosen(root: Path) -> None:
    for name in ("one.csv", "two.csv"):
        (root / name).write_text("image,x,y\na.jpg,1,2\nb.jpg,,\n")
    with pytest.raises(
        UserError, match=r"2 \.csv or \.parquet files may hold the dots: one\.csv, two\.csv; set `annot"
    ):
        read("points", root)
    assert read("points", root, annotations=str(root / "two.csv"))[1] == []
    with pytest.raises(UserError, match=r"three\.csv: there is no such file"):
        read("points", root, annotations=str(root / "three.csv"))
