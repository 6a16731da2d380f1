"""LabelMe and its like (X-AnyLabeling): beside each image a JSON file of its name, whose shapes are points.

An image without such a file was not annotated; a file without shapes says that the image shows nobody. Of several
images of one name, that counts which the file calls `imagePath`. With `dots: boxes` each rectangle gives a dot at its
centre too."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field

from components.crowd import Problem
from components.datasets.shared import json_records
from components.datasets.shared.files import Images, is_image, natural
from components.datasets.shared.halves import held_out_folders
from components.datasets.shared.listed import Listed
from components.datasets.shared.marks import Entry, Labels, Marks
from components.datasets.shared.sources import ShapeParams, Source
from components.errors import UserError

POINTS = ("point", "points")


class Params(ShapeParams):
    """`root` holds images and JSON files side by side, in folders too. `annotations`: a folder of JSON files."""


class Shape(json_records.Record):
    label: Any = None
    shape_type: str | None = None
    points: list[tuple[float, float]] | None = None


class File(json_records.Record):
    shapes: list[Any]
    image_path: Any = Field(None, alias="imagePath")
    image_width: Any = Field(None, alias="imageWidth")
    image_height: Any = Field(None, alias="imageHeight")


class LabelMe(Listed):
    """Images are called by their path without suffix."""

    def id_of(self, name: str) -> str:
        return PurePosixPath(name).with_suffix("").as_posix()

    def unlisted(self, path: Path, files: str) -> tuple[str, str]:
        return "has no .json with its dots", "left out"


def build(params: Params) -> LabelMe:
    folder = params.annotations or params.root
    sources = [Source(file) for file in _files(folder)]
    if not sources or not any(is_image(path) for path in params.root.rglob("*")):
        raise UserError(f"{folder} has no image with its dots: looked for IMAGE.jpg beside IMAGE.json")
    labels = Labels(params.labels)
    return LabelMe(params, sources, partial(read, params, labels), labels)


def recognise(root: Path) -> list[dict[str, Any]]:
    files = _files(root)
    held = json_records.peek(files[0]) if files else None
    if not isinstance(held, dict) or "shapes" not in held:
        return []
    shapes = held["shapes"] if isinstance(held["shapes"], list) else []
    kinds = {str(shape.get("shape_type")) for shape in shapes if isinstance(shape, dict)}
    folders = held_out_folders(path.relative_to(root).as_posix() for path in root.rglob("*") if is_image(path))
    return [({"halves": folders} if folders else {}) | ({"dots": "boxes"} if kinds == {"rectangle"} else {})]


def read(params: Params, labels: Labels, file: Path, images: Images, problems: list[Problem]) -> Iterator[Entry]:
    """The entry of one file, without dots where it is not the schema. Raises UserError: nor has it an image."""
    try:
        content = json_records.load(file, File)
    except UserError as error:
        if not images.beside(file):
            raise
        yield Entry(_image(file, "", images), [], str(file), fault=str(error))
        return
    marks = Marks(labels)
    for number, value in enumerate(content.shapes):
        try:
            _add(params, marks, json_records.record(value, Shape))
        except UserError as error:
            marks.faults.append(f"shapes[{number}]: {error}")
    if empty := sum(isinstance(each, dict) and not each.get("points") for each in content.shapes):
        problems.append(
            Problem(str(file), f"shapes without points: {empty}", "not counted: they mark nothing", "shape-not-counted")
        )
        marks.faults += [] if marks.dots else ["none of its shapes has a point"]
    remedy = "; mark people with points, or set `dots: boxes` where rectangles are people"
    size = (content.image_width, content.image_height)
    yield marks.entry(_image(file, content.image_path, images), str(file), problems, size, remedy)


def _add(params: Params, marks: Marks, shape: Shape) -> None:
    """The dots of one shape; one point of no type is a point. Raises UserError: a place that is none."""
    label, points = "" if shape.label is None else str(shape.label), shape.points or []
    kind = shape.shape_type or ("point" if len(points) == 1 else "polygon")
    if not all(isfinite(value) for point in points for value in point):
        raise UserError("is no place in an image")
    if kind in POINTS:
        marks.add(points, label)
    elif kind == "rectangle" and params.dots == "boxes":
        xs, ys = zip(*points, strict=True) if points else ((), ())
        marks.add([((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)] if points else [], label)
    elif points:
        marks.add_other(kind, label)


def _image(file: Path, written: Any, images: Images) -> str:
    """The image of a file: beside it and of its name; of several, or elsewhere, the one that it names."""
    beside = images.beside(file)
    named = PurePosixPath(str(written or "").replace("\\", "/"))
    same = [path for path in beside if PurePosixPath(path).name.casefold() == named.name.casefold()]
    if len(beside) == 1 or same:
        return (same or beside)[0]
    return file.stem if beside or not named.name or not images.has(str(named)) else str(named)


def _files(root: Path) -> list[Path]:
    """JSON files anywhere in the root."""
    files = [path for path in root.rglob("*") if path.suffix.lower() == ".json" and path.is_file()]
    return sorted(files, key=lambda path: natural(path.as_posix()))
