"""Files made to do harm: small ones that would become huge, deep or slow, and names that lead elsewhere."""

from __future__ import annotations

import json
import os
import resource
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from components.config import plugins
from components.config.options import Choice
from components.crowd import Problem
from components.data.decode import prepare_images, read_image
from components.datasets.points import Params, build
from components.datasets.shared import mat_check
from components.errors import UserError
from tests.own_data import read, said

MEGABYTES = 300  # that refusing a file may take
TRUTH = "Train/img_0001_ann.mat"


@pytest.fixture(autouse=True)
def _memory() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024


def element(kind: int, content: bytes, size: int | None = None) -> bytes:
    """Of a MATLAB file; `size` is what it says of itself."""
    return struct.pack("<II", kind, len(content) if size is None else size) + content + bytes(-len(content) % 8)


def array(array_class: int, shape: tuple[int, int], content: bytes, name: bytes = b"annPoints") -> bytes:
    flags, dimensions = struct.pack("<II", array_class, 0), struct.pack("<2i", *shape)
    return element(14, element(6, flags) + element(5, dimensions) + element(1, name) + content)


def cells_within_cells(depth: int) -> bytes:
    found = array(6, (0, 0), element(9, b""), b"")
    for level in range(depth, 0, -1):
        found = array(1, (1, 1), found, b"annPoints" if level == 1 else b"")
    return found


def lying_cells(depth: int) -> bytes:
    """Nested as deeply, while each says that it ends at once: scipy reads on."""
    head = array(1, (1, 1), b"", b"")
    return array(1, (1, 1), head, b"annPoints") + head * depth


def compressed(content: bytes, zeros: int = 0) -> bytes:
    packer = zlib.compressobj(9)
    parts = [packer.compress(content), *(packer.compress(bytes(2**20)) for _ in range(zeros >> 20)), packer.flush()]
    return struct.pack("<II", 15, len(b"".join(parts))) + b"".join(parts)


FIELDS = element(5, struct.pack("<i", 32)) + element(1, bytes(32))
HARMFUL = {
    "deep": (compressed(cells_within_cells(3000)), "arrays within arrays"),
    "deep and lying": (lying_cells(100_000), "says that it has 1 cells and has 0"),
    "cells": (array(1, (30_000, 30_000), b""), "says that it has 900,000,000 values"),
    "records": (array(2, (30_000, 30_000), FIELDS), "says that it has 900,000,000 values"),
    "text": (array(4, (30_000, 30_000), element(16, b"")), "says that it has 900,000,000 values"),
    "inflated": (compressed(b"", mat_check.MOST_BYTES + 2**20), "holds more than"),
    "long": (array(6, (1, 2), element(9, b"", 2**32 - 16)), "is cut off"),
    "objects": (array(17, (1, 1), b""), "is no array of numbers, text, cells or records"),
}


@pytest.mark.parametrize("case", HARMFUL)
def test_a_mat_that_would_grow_or_nest_without_end_is_refused(copy: Callable[[str], Path], case: str) -> None:
    """scipy ends the process for the deep one, and makes room for all that the others announce."""
    content, what = HARMFUL[case]
    root = copy("ucf_qnrf")
    (root / TRUTH).write_bytes(b"MATLAB 5.0".ljust(124) + struct.pack("<H", 0x100) + b"IM" + content)
    dots, problems = read("ucf_qnrf", root)
    assert [*dots] == ["test-img_0002"]
    assert what in problems[0].what


def test_an_array_that_is_not_read_may_be_anything(copy: Callable[[str], Path]) -> None:
    root = copy("ucf_qnrf")
    savemat(root / TRUTH, {"annPoints": np.ones((2, 2)), "note": np.array([{"a": np.ones(3)}], object)})
    content = (root / TRUTH).read_bytes()
    (root / TRUTH).write_bytes(content + array(17, (1, 1), b"", b"table"))
    assert read("ucf_qnrf", root)[0]["train-img_0001"] == [[1, 1], [1, 1]]


def test_a_mat_of_version_4_is_refused(copy: Callable[[str], Path]) -> None:
    root = copy("ucf_qnrf")
    savemat(root / TRUTH, {"annPoints": np.ones((2, 2))}, format="4")
    assert said(read("ucf_qnrf", root)[1]) == [("img_0001_ann.mat", "is a MATLAB 4 file: save it in MATLAB with `-v7`")]


@pytest.mark.timeout(60)
def test_a_key_that_stands_twice_among_many_is_found_at_once(root: Path) -> None:
    many = ",".join(f'"{number}": 1' for number in range(200_000))
    (root / "a.json").write_text(f'{{"shapes": [], {many}, "199999": 1}}')
    assert "'199999' stands twice" in read("labelme", root)[1][0].what


@pytest.mark.timeout(60)
def test_tags_that_never_end_are_passed_over_at_once(root: Path) -> None:
    for name in ("a.xml", "b.xml"):
        (root / name).write_text("<annotations>" + "<image " * 200_000)
    assert {what for _, what in said(read("cvat", root)[1])} == {"line 1: is not XML (not well-formed (invalid token))"}


def test_a_parquet_file_of_more_rows_than_bytes_is_refused(root: Path) -> None:
    number = 3_000_000
    image = pa.DictionaryArray.from_arrays(pa.array(np.zeros(number, np.int32)), pa.array(["a.jpg"]))
    zeros = pa.array(np.zeros(number, np.float32))
    pq.write_table(pa.table([image, zeros, zeros], ["image", "x", "y"]), root / "dots.parquet", compression="zstd")
    with pytest.raises(UserError, match=r"holds 3,000,000 rows, .* in a file of .* bytes: refused"):
        [*build(Params(root=root)).read(root / "dots.parquet", build(Params(root=root)).images, [])]


LAUGHS = "a0: &a0 [lol, lol, lol]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 10)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 9)}]}}\n" for level in range(1, 10)
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "content",
    [
        f"{LAUGHS}names: [*a9]",
        f"{LAUGHS}names: [head]\ntrain: *a9",
        f"{LAUGHS}names: [head]\npath: *a9",
        f"{MERGES}names: [head]",
        "names: [head]\ntrain: &a [*a]",
        f"names: {'[' * 50_000}",
        f"names: [head]\n# {'x' * 1_000_000}",
        "names: [!!timestamp x]",
        "names: [2024-13-45]",
        "names: !!python/object/apply:os.system [true]",
    ],
    ids=lambda content: content[-40:],
)
def test_a_data_yaml_that_would_grow_without_end_is_refused(copy: Callable[[str], Path], content: str) -> None:
    root = copy("yolo")
    (root / "data.yaml").write_text(content)
    with pytest.raises(UserError, match=r"data\.yaml: (is not YAML|its aliases|line \d+: an alias|has more than)"):
        read("yolo", root)


@pytest.mark.parametrize("path", ["../../etc", "/etc", "a\\0b", "a" * 5000, "\\ud800", "images/out"])
def test_a_half_of_data_yaml_outside_the_root_is_refused(copy: Callable[[str], Path], path: str) -> None:
    root = copy("yolo")
    (root / "images/out").symlink_to("/etc")
    (root / "data.yaml").write_text(f'names: [head]\ntrain: "{path}"\n')
    with pytest.raises(UserError, match="there is no"):
        read("yolo", root)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "x" * 100_000])
def test_names_of_images_are_only_looked_up(root: Path, name: str) -> None:
    (root / "coco.json").write_text(json.dumps({"images": [{"id": 1, "file_name": name}], "annotations": []}))
    dots, problems = read("coco", root)
    assert dots == {}
    assert problems[0].what.startswith("there is no image")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("made", ["fifo", "endless"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("yolo", "labels/train/shot_1.txt"),
        ("yolo", "images/train/shot_1.jpg"),
        ("jhu", "train/gt/0001.txt"),
        ("nwpu", "jsons/0001.json"),
        ("ucf_qnrf", TRUTH),
        ("shanghaitech", "part_A/train_data/ground-truth/GT_IMG_2.mat"),
        ("dot_png", "001dots.png"),
    ],
)
def test_what_is_no_regular_file_is_never_waited_for(
    copy: Callable[[str], Path], kind: str, name: str, made: str
) -> None:
    root = copy(kind)
    (root / name).unlink()
    os.mkfifo(root / name) if made == "fifo" else (root / name).symlink_to("/dev/zero")
    options = {"part": "A"} if kind == "shanghaitech" else {}
    choice = Choice.model_validate({"kind": kind, "root": str(root)} | options)
    problems: list[Problem] = []
    dataset = plugins.build("dataset", kind, plugins.resolve("dataset", choice, "test"))
    assert len([*prepare_images(dataset, None, problems)]) == (3 if kind == "shanghaitech" else 1)
    assert len(problems) == 1


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\nshowpage\n"


def test_a_program_for_a_printer_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would run Ghostscript on it, whatever the file is called."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gs").write_text(f"#!/bin/sh\necho > {tmp_path}/ran\n")
    (tmp_path / "bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "a.jpg").write_bytes(POSTSCRIPT)
    with pytest.raises(UserError, match="cannot be decoded"):
        read_image(tmp_path / "a.jpg")
    assert not (tmp_path / "ran").exists()
