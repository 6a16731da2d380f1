"""LabelMe: beside each image a JSON file of its name, whose shapes are points.

An image without such a file was not annotated; a file without shapes says that the image shows nobody."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from components.config.options import Options
from components.crowd import Problem
from components.datasets.shared import json_records
from components.datasets.shared.files import is_image
from components.datasets.shared.mat import as_dots
from components.datasets.shared.pairs import Pairs, pair_up


class Params(Options):
    """`root` holds images and JSON files side by side, in folders too."""

    root: Path
    labels: tuple[str, ...] = Field((), description="labels whose points count; none: all do")


class Shape(json_records.Record):
    label: str
    shape_type: str = "polygon"  # what LabelMe took it for before it wrote the type
    points: list[tuple[float, float]]


class File(json_records.Record):
    shapes: list[Any]


class LabelMe(Pairs):
    truth = ".json"


def build(params: Params) -> LabelMe:
    images, truths = ({_name(params.root, path): path for path in paths} for paths in _files(params.root))
    read = partial(read_dots, params.labels)
    return LabelMe(pair_up(images, truths), read, str(params.root), "IMAGE.jpg beside IMAGE.json")


def recognise(root: Path) -> list[dict[str, Any]]:
    _, truths = _files(root)
    held = json_records.peek(truths[0]) if truths else None
    return [{}] if isinstance(held, dict) and "shapes" in held else []


def read_dots(labels: tuple[str, ...], path: Path, problems: list[Problem]) -> np.ndarray:
    """Dots (N, 2) of one file; shapes other than points are problems. Raises UserError: not the schema."""
    shapes = json_records.records(json_records.load(path, File).shapes, Shape, f"{path}: shapes", problems)
    dots: list[tuple[float, float]] = []
    for shape in shapes:
        if labels and shape.label not in labels:
            continue
        if shape.shape_type == "point":
            dots += shape.points
        else:
            what = f"a {shape.shape_type} labelled {shape.label!r} is not a point"
            problems.append(Problem(str(path), what, "dropped; mark it with a point"))
    return as_dots(dots, "shapes")


def _files(root: Path) -> tuple[list[Path], list[Path]]:
    """Images and JSON files anywhere in the root."""
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return [path for path in paths if is_image(path)], [path for path in paths if path.suffix.lower() == ".json"]


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()
