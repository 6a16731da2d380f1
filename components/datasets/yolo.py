"""YOLO's text files as Ultralytics lays them out: `images/train/a.jpg` with `labels/train/a.txt`, a line an object.

A line is `class x y width height`, in fractions of the image's width and height; the middle x, y of a box is a dot. An
empty file says that the image shows nobody; an image without a file was not labelled. `train/images` with
`train/labels`, and files beside their images, are read too. Folders called train, val (or valid) and test are the
halves, unless `halves` says otherwise. Names of classes come from `data.yaml` or `classes.txt` in the root."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from pydantic import Field

from components.crowd import Problem
from components.datasets.shared import sources
from components.datasets.shared.files import Images, is_image, natural, read_text
from components.datasets.shared.halves import Halves, held_out_folders
from components.datasets.shared.listed import Listed
from components.datasets.shared.marks import Entry, Labels, Marks, Name
from components.datasets.shared.sources import Source
from components.errors import UserError

NAMES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names")  # of these in the root, the first names the classes
NOT_LABELS = {"classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt", "requirements.txt"}
NUMBERS = 5  # on every line
ROUNDING = 1e-4  # how far beyond 0 and 1 a place may lie


class Params(sources.Params):
    """`root` holds `images` and `labels`. `annotations` is not needed."""

    classes: tuple[Name, ...] = Field((), description="classes that count, by number or name; none: all do")


class Yolo(Listed):
    def unlisted(self, path: Path, files: str) -> tuple[str, str]:
        return "has no .txt with its labels", "left out: it is not labelled; an empty file says that it shows nobody"


def build(params: Params) -> Yolo:
    if params.annotations is not None:
        raise UserError("annotations: yolo looks for a file of labels for each image; leave this option out")
    images = Images(params.root)
    owners: dict[str, list[str]] = {}
    for name in images.paths:
        owners.setdefault(_labels_of(name), []).append(name)
    sources = [Source(path) for path in _label_files(params.root, images)]
    if not any(source.file.relative_to(params.root).as_posix() in owners for source in sources):
        raise UserError(f"{params.root} has no image with its labels: looked for images/a.jpg with labels/a.txt")
    if not params.halves.given():
        params = params.model_copy(update={"halves": Halves(**held_out_folders(images.paths))})
    classes = Labels(params.classes, "classes")
    return Yolo(params, sources, partial(read, owners, class_names(params.root), classes), classes)


def recognise(root: Path) -> list[dict[str, Any]]:
    """Folders of images and files of labels of which the first line has five numbers."""
    names = [path.relative_to(root).as_posix() for path in root.rglob("*") if is_image(path)]
    files = sorted(root / _labels_of(name) for name in names if (root / _labels_of(name)).is_file())
    first = next((line for file in files if (line := _first_line(file))), None)
    return [{}] if files and (first is None or len(first.split()) == NUMBERS) else []


def class_names(root: Path) -> dict[str, str]:
    """Names of classes by their number as it is written; none where no file says them. Raises UserError, which names
    the file."""
    file = next((root / name for name in NAMES if (root / name).is_file()), None)
    if file is None:
        return {}
    try:
        text = read_text(file)
        names = yaml.safe_load(text)["names"] if file.suffix == ".yaml" else text.splitlines()
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
    except (ValueError, yaml.YAMLError, LookupError, TypeError, RecursionError) as error:
        raise UserError(f"{file}: names no classes ({type(error).__name__})") from None
    return {str(number): str(name).strip() for number, name in pairs}


def read(
    owners: dict[str, list[str]],
    names: dict[str, str],
    classes: Labels,
    file: Path,
    images: Images,
    problems: list[Problem],
) -> Iterator[Entry]:
    """The entry of one file; `owners` are the images of each file of labels, of which there should be one."""
    same = owners.get(file.relative_to(images.root).as_posix(), [])
    marks = Marks(classes)
    try:
        for number, line in enumerate(read_text(file).splitlines(), 1):
            if line.strip():
                _add(marks, names, number, line)
    except UserError as error:
        marks.faults.append(str(error))
    if not same:
        problems.append(
            Problem(str(file), "has no image", f"its dots ({len(marks.dots)}) are dropped", "image-missing")
        )
    if len(same) > 1:
        marks.faults.append(f"{' and '.join(same)} share {file.name}: keep one of them")
    yield from (marks.entry(name, str(file), problems)._replace(fractions=True) for name in same)


def _add(marks: Marks, names: dict[str, str], number: int, line: str) -> None:
    """The middle of one line's box. Raises UserError: a line that is none."""
    words = line.split()
    try:
        x, y, _width, _height = places = [float(word) for word in words[1:]]
    except ValueError:
        raise UserError(f"line {number}: {line[:60]!r} is not class x y width height of a box") from None
    inside = all(isfinite(value) and -ROUNDING <= value <= 1 + ROUNDING for value in places)
    if not words[0].isdecimal() or not inside:
        raise UserError(f"line {number}: {line[:60]!r} is not a number of a class and fractions from 0 to 1")
    marks.add([(min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0))], *{words[0], names.get(words[0], words[0])})


def _label_files(root: Path, images: Images) -> list[Path]:
    """Text files in folders called labels, or beside images."""
    beside = {path.parent for path in images.paths.values()}
    files = [
        path for path in root.rglob("*.txt") if "labels" in path.relative_to(root).parts[:-1] or path.parent in beside
    ]
    found = [path for path in files if path.name.casefold() not in NOT_LABELS]
    return sorted(found, key=lambda path: natural(path.as_posix()))


def _labels_of(name: str) -> str:
    """Where the labels of an image lie, both seen from the root: the last folder `images` is called `labels`."""
    parts = list(PurePosixPath(name).with_suffix(".txt").parts)
    folders = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return "/".join(parts)


def _first_line(file: Path) -> str:
    """The first line that is not empty; "" where there is none, or no text."""
    try:
        return next((line for line in read_text(file).splitlines() if line.strip()), "")
    except UserError:
        return ""
