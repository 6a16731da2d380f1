"""VGG Image Annotator 1, 2 and 3: point regions in its JSON (annotations or a whole project) or in its CSV.

Files may list one image each, as in FDST (Fang et al., "Locality-constrained Spatial Transformer Network for Video
Crowd Counting", ICME 2019). With `dots: boxes` each rectangle gives a dot at its centre too."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

from pydantic import Field

from components.crowd import Problem
from components.datasets.shared import json_records
from components.datasets.shared.files import Images, read_text
from components.datasets.shared.listed import Listed
from components.datasets.shared.marks import Entry, Labels, Marks
from components.datasets.shared.sources import ShapeParams, find_sources, recognise_files
from components.errors import UserError

PROJECT = "_via_img_metadata"
COLUMNS = ("filename", "region_count", "region_shape_attributes", "region_attributes")
VERSION_3 = {"file", "metadata", "view"}
SHAPES_3: dict[float, str] = {1: "point", 2: "rect", 3: "circle", 4: "ellipse", 5: "line", 6: "polyline", 7: "polygon"}
REMEDY = "; mark people with points, or set `dots: boxes` where rectangles are people"


class Params(ShapeParams):
    """`labels` are values of region attributes, whatever the attribute is called."""


class Shape(json_records.Record):
    name: str = "nothing"
    cx: float | None = None
    cy: float | None = None
    x: float | None = None
    y: float | None = None
    width: float | None = None
    height: float | None = None


class Region(json_records.Record):
    shape_attributes: Shape
    region_attributes: dict[str, Any] = Field(default_factory=dict)


class Image(json_records.Record):
    filename: str
    regions: list[Any] | dict[str, Any]  # version 1 numbers its regions


class File3(json_records.Record):
    fname: str


class View3(json_records.Record):
    fid_list: tuple[int | str, ...]


class Region3(json_records.Record):
    vid: int | str
    xy: list[float]  # the number of the shape, then its coordinates
    av: dict[str, Any] = Field(default_factory=dict)


class Attribute3(json_records.Record):
    options: dict[str, Any] = Field(default_factory=dict)


class Project3(json_records.Record):
    file: dict[str, File3]
    view: dict[str, View3]
    metadata: dict[str, Any]
    attribute: dict[str, Attribute3] = Field(default_factory=dict)


def build(params: Params) -> Listed:
    sources, labels = find_sources(params, names, ".json", ".csv"), Labels(params.labels)
    return Listed(params, sources, partial(read, params, labels), labels)


def recognise(root: Path) -> list[dict[str, Any]]:
    found = recognise_files(root, names, ".csv", ".json")
    if not found:
        return []
    texts = [
        path.read_bytes() for path in root.rglob("*") if path.suffix.lower() in (".json", ".csv") and path.is_file()
    ]
    points = any(b"point" in text or (b'"vid"' in text and b'"xy"' in text) for text in texts)
    only_boxes = not points and any(b"rect" in text for text in texts)
    return [each | ({"dots": "boxes"} if only_boxes else {}) for each in found]


def names(file: Path) -> set[str] | None:
    """The images that a file lists; None where it is not VIA's. Raises UserError: it cannot be read."""
    if file.suffix.lower() == ".csv":
        of_via = COLUMNS[2] in read_text(file)[:1000]
        return {cells["filename"] for _, cells in _table(file)} if of_via else None
    content = json_records.load(file, Any)
    try:
        return {image.filename for image in _images(content)} if content and isinstance(content, dict) else None
    except UserError:
        return None


def read(params: Params, labels: Labels, file: Path, images: Images, problems: list[Problem]) -> Iterator[Entry]:
    """An entry an image. Raises UserError: none of VIA's formats."""
    rows = _csv_images if file.suffix.lower() == ".csv" else _json_images
    for name, where, regions, faults in rows(file, problems):
        marks = Marks(labels)
        marks.faults += faults
        for number, value in enumerate(regions):
            try:
                _add(params, marks, json_records.record(value, Region))
            except UserError as error:
                marks.faults.append(f"region {number}: {error}")
        yield marks.entry(name, where, problems, remedy=REMEDY)


def _json_images(file: Path, problems: list[Problem]) -> Iterator[tuple[str, str, list[Any], list[str]]]:
    """Name, place, regions and faults of every image."""
    content = json_records.load(file, dict[str, Any])
    if not {*content} >= VERSION_3 and not isinstance(content.get(PROJECT, content), dict):
        raise UserError(f"{PROJECT} is not an object of images")
    for image in _images(content, str(file), problems):
        regions = image.regions if isinstance(image.regions, list) else list(image.regions.values())
        yield image.filename, str(file), regions, []


def _images(content: dict[str, Any], where: str = "", problems: list[Problem] | None = None) -> list[Image]:
    """The images of a file or project of any version. Raises UserError: without `problems`, the first that is none."""
    if {*content} >= VERSION_3:
        return _version_3(json_records.record(content, Project3))
    held = content.get(PROJECT, content)
    values = list(held.values()) if isinstance(held, dict) else [held]
    if problems is None:
        return [json_records.record(value, Image) for value in values]
    return [*json_records.records(values, Image, where, problems)]


def _version_3(project: Project3) -> list[Image]:
    """A project of version 3 as images of version 2. Raises UserError: a region of no image."""
    regions: dict[str, list[Any]] = {view: [] for view in project.view}
    for number, value in project.metadata.items():
        region = json_records.record(value, Region3)
        if str(region.vid) not in regions or not region.xy:
            raise UserError(f"metadata.{number}: is no region of an image: export as VIA 2 or CSV")
        regions[str(region.vid)].append(_region_3(region, project.attribute))
    files = {view: str(each.fid_list[0]) for view, each in project.view.items() if each.fid_list}
    unknown = [view for view in regions if files.get(view) not in project.file]
    if unknown:
        raise UserError(f"view.{unknown[0]}: names no file")
    return [Image(filename=project.file[files[view]].fname, regions=found) for view, found in regions.items()]


def _region_3(region: Region3, attributes: dict[str, Attribute3]) -> dict[str, Any]:
    name, places = SHAPES_3.get(region.xy[0], "unknown"), region.xy[1:]
    keys = {"point": ("cx", "cy"), "rect": ("x", "y", "width", "height")}.get(name, ())
    options = {key: each.options for key, each in attributes.items()}
    return {
        "shape_attributes": {"name": name} | dict(zip(keys, places, strict=False)),
        "region_attributes": {key: options.get(key, {}).get(str(value), value) for key, value in region.av.items()},
    }


def _table(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and cells of the CSV; version 1.0 writes `#filename`. Raises UserError: not VIA's CSV."""
    table = csv.reader(io.StringIO(read_text(file), newline=""), strict=True)
    try:
        head = [name.removeprefix("#") for name in next(table, [])]
        missing = [name for name in COLUMNS if name not in head]
        if missing:
            raise UserError(f"has no column {' and no '.join(missing)}: is it VIA's CSV?")
        for cells in table:
            if cells and len(cells) != len(head):
                raise UserError(f"line {table.line_num}: has {len(cells)} cells, the first line {len(head)}")
            if cells:
                yield table.line_num, dict(zip(head, cells, strict=True))
    except csv.Error as error:
        raise UserError(f"is not a CSV file: {error}") from None


def _csv_images(file: Path, problems: list[Problem]) -> Iterator[tuple[str, str, list[Any], list[str]]]:
    """Name, place, regions and faults of every image: rows of one name and size of file are one image."""
    lines: dict[tuple[str, str], list[tuple[int, dict[str, str]]]] = {}
    for line, cells in _table(file):
        if cells["filename"]:
            lines.setdefault((cells["filename"], cells.get("file_size", "")), []).append((line, cells))
        else:
            problems.append(
                Problem(f"{file}:{line}", "names no image", "the row is dropped; correct it", "record-invalid")
            )
    for (name, _), rows in lines.items():
        regions, faults = _regions(rows)
        yield name, f"{file}:{rows[0][0]}", regions, faults


def _regions(rows: list[tuple[int, dict[str, str]]]) -> tuple[list[Any], list[str]]:
    """The regions of the rows of one image, and what is wrong with them. A `region_count` of 0 says nobody."""
    regions: list[Any] = []
    faults = []
    for line, cells in rows:
        if cells["region_count"] == "0":
            continue
        try:
            shape, attributes = (json.loads(cells[name] or "") for name in COLUMNS[2:])
            regions.append({"shape_attributes": shape, "region_attributes": attributes})
        except (ValueError, RecursionError):
            faults.append(f"line {line}: {COLUMNS[2]} or {COLUMNS[3]} is not JSON")
    said = {cells["region_count"] for _, cells in rows}
    if said != {str(len(rows))} and said != {"0"}:
        faults.append(f"its rows ({len(rows)}) are not as many as `region_count` says ({', '.join(sorted(said))})")
    if said == {"0"} and len(rows) > 1:
        faults.append(f"is listed {len(rows)} times without regions")
    return regions, faults


def _add(params: Params, marks: Marks, region: Region) -> None:
    """The dot of one region. Raises UserError: a point or a rectangle without a place."""
    shape, labels = region.shape_attributes, _labels(region.region_attributes)
    if shape.name == "point":
        marks.add([_place(shape.cx, shape.cy)], *labels)
    elif shape.name == "rect" and params.dots == "boxes":
        x, y = _place(shape.x, shape.y)
        width, height = _place(shape.width, shape.height)
        marks.add([(x + width / 2, y + height / 2)], *labels)
    else:
        marks.add_other(shape.name, *labels)


def _labels(attributes: dict[str, Any]) -> list[str]:
    """Values of attributes; of a group of checkboxes, the names of those that are set."""
    labels: list[str] = []
    for value in attributes.values():
        labels += [name for name, on in value.items() if on] if isinstance(value, dict) else [str(value)]
    return labels


def _place(x: float | None, y: float | None) -> tuple[float, float]:
    if x is None or y is None or not (isfinite(x) and isfinite(y)):
        raise UserError("has no place")
    return x, y
