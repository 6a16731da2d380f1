"""VGG Image Annotator 1 and 2: point regions in its JSON (annotations or a whole project) or in its CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from components.crowd import Problem
from components.datasets.shared import json_records
from components.datasets.shared.files import annotation_file, annotation_files
from components.datasets.shared.listed import Entry, LabelledParams, Listed
from components.errors import UserError

PROJECT = "_via_img_metadata"
COLUMNS = ("filename", "region_count", "region_shape_attributes", "region_attributes")


class Params(LabelledParams):
    """`labels` are values of region attributes, whatever the attribute is called."""


class Shape(json_records.Record):
    name: str = "nothing"
    cx: float | None = None
    cy: float | None = None


class Region(json_records.Record):
    shape_attributes: Shape
    region_attributes: dict[str, Any] = Field(default_factory=dict)


class Image(json_records.Record):
    filename: str
    regions: list[Any] | dict[str, Any]  # version 1 numbers its regions


def build(params: Params) -> Listed:
    file = annotation_file(params.root, params.annotations, ".json", ".csv")
    return Listed(params.root, file, partial(read, params))


def recognise(root: Path) -> list[dict[str, Any]]:
    csvs = [file for file in annotation_files(root, ".csv") if COLUMNS[2].encode() in file.read_bytes()[:1000]]
    jsons = [file for file in annotation_files(root, ".json") if _is_via(json_records.peek(file))]
    return [{"annotations": str(file)} for file in (*csvs, *jsons)]


def read(params: Params, file: Path, problems: list[Problem]) -> Iterator[Entry]:
    """An entry an image, or a row of the CSV. Raises UserError: neither of VIA's formats."""
    rows = _csv_rows if file.suffix.lower() == ".csv" else _json_rows
    for where, name, regions in rows(file, problems):
        found = json_records.records(regions, Region, where, problems)
        chosen = [region for region in found if params.count(*map(str, region.region_attributes.values()))]
        yield Entry(name, [dot for region in chosen for dot in _dots(region, where, problems)], where)


def _json_rows(file: Path, problems: list[Problem]) -> Iterator[tuple[str, str, list[Any]]]:
    content = json_records.load(file, dict[str, Any])
    images = content.get(PROJECT, content)
    if not isinstance(images, dict):
        raise UserError(f"{PROJECT} is not an object of images")
    for image in json_records.records(images.values(), Image, str(file), problems):
        regions = image.regions if isinstance(image.regions, list) else list(image.regions.values())
        yield f"{file}: {image.filename}", image.filename, regions


def _csv_rows(file: Path, problems: list[Problem]) -> Iterator[tuple[str, str, list[Any]]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            table = csv.DictReader(lines, strict=True)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or [])]
            if missing:
                raise UserError(f"has no column {' and no '.join(missing)}: is it VIA's CSV?")
            for cells in table:
                yield from _csv_row(cells, f"{file}:{table.line_num}", problems)
    except UnicodeDecodeError:
        raise UserError("is not UTF-8 text") from None
    except csv.Error as error:
        raise UserError(f"is not a CSV file: {error}") from None


def _csv_row(cells: dict[str, str], where: str, problems: list[Problem]) -> Iterator[tuple[str, str, list[Any]]]:
    """The region of a row; a row of an image without regions has a `region_count` of 0."""
    if not cells["filename"]:
        problems.append(Problem(where, "names no image", "the row is dropped; correct it"))
        return
    if cells["region_count"] == "0":
        yield where, cells["filename"], []
        return
    try:
        shape, attributes = (json.loads(cells[name] or "") for name in COLUMNS[2:])
    except (ValueError, RecursionError):
        problems.append(Problem(where, f"{COLUMNS[2]} or {COLUMNS[3]} is not JSON", "the row is dropped; correct it"))
    else:
        yield where, cells["filename"], [{"shape_attributes": shape, "region_attributes": attributes}]


def _dots(region: Region, where: str, problems: list[Problem]) -> list[tuple[float, float]]:
    """The dot of a point; another shape is a problem and gives none."""
    shape = region.shape_attributes
    if shape.name == "point" and shape.cx is not None and shape.cy is not None:
        return [(shape.cx, shape.cy)]
    problems.append(Problem(where, f"a region of shape {shape.name!r} is not a point", "dropped; mark it with a point"))
    return []


def _is_via(content: Any) -> bool:
    first = next(iter(content.values()), None) if isinstance(content, dict) else None
    return isinstance(content, dict) and (PROJECT in content or (isinstance(first, dict) and "regions" in first))
