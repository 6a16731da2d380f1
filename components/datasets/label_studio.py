"""Label Studio's JSON export: a list of tasks whose keypoints are percent of the image's width and height.

Also JSON-MIN, and the exports of before version 1.0 ("completions"). Names of images come back as Label Studio serves
them: `/data/upload/1/4f0e12ab-IMAGE.jpg`, or `/data/local-files/?d=FOLDER/IMAGE.jpg`. Where several people annotated a
task, or an image was imported twice, the first annotation that was not cancelled counts. With `dots: boxes` each
rectangle gives a dot at its centre too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import AliasChoices, Field

from components.crowd import Problem
from components.datasets.shared import json_records
from components.datasets.shared.files import IMAGES, Images
from components.datasets.shared.listed import Listed
from components.datasets.shared.marks import Entry, Labels, Marks
from components.datasets.shared.sources import ShapeParams, find_sources, recognise_files
from components.errors import UserError

UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of an uploaded file
POINTS, BOXES = ("keypointlabels", "keypoint"), ("rectanglelabels", "rectangle")
REMEDY = "; mark people with keypoints, or set `dots: boxes` where rectangles are people"


class Params(ShapeParams):
    """`labels` are keypoint labels."""


class Value(json_records.Record):
    x: float = Field(description="percent of the width")
    y: float = Field(description="percent of the height")
    width: Any = 0  # percent, of a rectangle
    height: Any = 0
    rotation: Any = 0


class Result(json_records.Record):
    type: str
    original_width: float = Field(gt=0, description="pixels")
    original_height: float = Field(gt=0, description="pixels")
    image_rotation: Any = 0
    value: Value


class Annotation(json_records.Record):
    result: list[Any]
    was_cancelled: bool | None = False


class Task(json_records.Record):
    data: dict[str, Any]
    annotations: tuple[Annotation, ...] = Field((), validation_alias=AliasChoices("annotations", "completions"))


class TaskImage(NamedTuple):
    """Where a task names an image: the key of its data, and which of a list."""

    key: str
    item: int
    name: str


def build(params: Params) -> Listed:
    sources, labels = find_sources(params, names, ".json"), Labels(params.labels)
    return Listed(params, sources, partial(read, params, labels), labels, first_counts=True)


def recognise(root: Path) -> list[dict[str, Any]]:
    found = recognise_files(root, names, ".json")
    texts = [file.read_bytes() for file in root.rglob("*.json") if file.is_file()] if found else []
    only_boxes = any(b"rectanglelabels" in text for text in texts) and not any(b"keypoint" in text for text in texts)
    return [each | ({"dots": "boxes"} if only_boxes else {}) for each in found]


def names(file: Path) -> set[str] | None:
    """The images that an export lists; None where the file is none. Raises UserError: not JSON."""
    held = json_records.load(file, Any)
    found = {image.name for task in _tasks(held) for image in _images_of(task["data"])}
    return found if found and isinstance(held, list) else None


def read(params: Params, labels: Labels, file: Path, images: Images, problems: list[Problem]) -> Iterator[Entry]:
    """An entry an image of a task that somebody annotated. Raises UserError: not a list of tasks."""
    tasks = [_full(task) for task in json_records.load(file, list[Any])]
    for task in json_records.records(tasks, Task, str(file), problems):
        named = _images_of(task.data)
        known = [image for image in named if images.has(image.name)] or named[:1]
        if not known:
            what = f"a task whose data name no image: {', '.join(task.data) or 'no data'}"
            problems.append(Problem(str(file), what, "the task is left out", "image-missing"))
            continue
        done = [annotation for annotation in task.annotations if not annotation.was_cancelled]
        if len(done) > 1:
            what = f"{known[0].name} was annotated {len(done)} times"
            problems.append(Problem(str(file), what, "the first counts", "image-listed-twice"))
        if done:
            yield from _entries(params, labels, known, done[0].result, str(file), problems)


def _entries(
    params: Params, labels: Labels, images: list[TaskImage], results: list[Any], where: str, problems: list[Problem]
) -> Iterator[Entry]:
    """The entries of one annotation: one, or as many as its task has images."""
    own = dict.fromkeys(images, results)
    if len(images) > 1:
        own = {image: [each for each in results if _is_of(each, image)] for image in images}
        if sum(map(len, own.values())) != len(results):
            fault = f"its task has {len(images)} images, and `to_name` does not say whose a keypoint is"
            yield from (Entry(image.name, [], where, fault=fault) for image in images)
            return
    for image, found in own.items():
        yield _entry(params, labels, image.name, found, where, problems)


def _is_of(result: Any, image: TaskImage) -> bool:
    if not isinstance(result, dict) or result.get("to_name") not in (image.key, image.key.removesuffix("s")):
        return False
    return result.get("item_index") in ((image.item, None) if image.item == 0 else (image.item,))


def _entry(params: Params, labels: Labels, name: str, results: list[Any], where: str, problems: list[Problem]) -> Entry:
    """Results that say something of the whole image are skipped, and so are those that only label another one."""
    marks, size, named = Marks(labels), None, _labels_by_id(results)
    for number, result in enumerate(results):
        if isinstance(result, dict) and not _is_shape(result, named):
            continue
        try:
            found = json_records.record(result, Result)
            size = size or (found.original_width, found.original_height)
            _add(params, marks, found, named.get(str(result.get("id")), ()) or _labels(result))
        except UserError as error:
            marks.faults.append(f"result[{number}]: {error}")
    return marks.entry(name, where, problems, size, REMEDY)


def _add(params: Params, marks: Marks, result: Result, labels: tuple[str, ...]) -> None:
    """The dot of one result, in pixels. Raises UserError: a place that is none, or was not seen upright."""
    value = result.value
    is_box = result.type in BOXES and params.dots == "boxes"
    if result.type not in POINTS and not is_box:
        marks.add_other(result.type, *labels)
        return
    if result.image_rotation or (is_box and value.rotation):
        raise UserError("the image or the rectangle is rotated: annotate it as it is")
    try:
        half = [float(side) / 2 if is_box else 0.0 for side in (value.width, value.height)]
    except (TypeError, ValueError, OverflowError):
        raise UserError("the rectangle has no width and height") from None
    x, y = value.x + half[0], value.y + half[1]
    if not (isfinite(x) and isfinite(y)):
        raise UserError("is no place in an image")
    marks.add([(x * result.original_width / 100, y * result.original_height / 100)], *labels)


def _is_shape(result: dict[str, Any], named: dict[str, tuple[str, ...]]) -> bool:
    """Whether a result is something in the image, and not the labels of another result of its id."""
    if "type" not in result or result["type"] in (*POINTS, *BOXES):
        return True
    return "original_width" in result and not (result.get("type") == "labels" and str(result.get("id")) in named)


def _labels_by_id(results: list[Any]) -> dict[str, tuple[str, ...]]:
    """Labels that stand in a result of their own, beside the shape of the same id."""
    records = [each for each in results if isinstance(each, dict) and each.get("type") == "labels"]
    return {str(each["id"]): _labels(each) for each in records if "id" in each}


def _labels(result: dict[str, Any]) -> tuple[str, ...]:
    value = result.get("value")
    held = value if isinstance(value, dict) else {}
    lists = [held.get(str(result.get("type"))), *(held.get(key) for key in ("keypointlabels", "labels"))]
    return next((tuple(map(str, each)) for each in lists if isinstance(each, list)), ())


def _full(task: Any) -> Any:
    """A task of JSON-MIN as one of the full export; others as they are."""
    if not isinstance(task, dict) or "data" in task or not _images_of(task):
        return task
    lists = [value for value in task.values() if isinstance(value, list)]
    shapes = [each for value in lists for each in value if not isinstance(each, str)]  # texts are choices or pages
    return {"data": task, "annotations": [{"result": [_result(each) for each in shapes]}]}


def _result(shape: Any) -> Any:
    """A shape of JSON-MIN as a result of the full export; what is none stays, to be named."""
    if not isinstance(shape, dict):
        return shape
    kinds = [key for key in shape if key.endswith("labels") and key != "labels"]
    kind = kinds[0] if kinds else "rectangle" if "height" in shape else "keypoint"
    return {"type": kind, "value": shape} | {size: shape.get(size) for size in ("original_width", "original_height")}


def _images_of(data: dict[str, Any]) -> list[TaskImage]:
    """Every value of `data`, or of a list in it, that ends like the name of an image."""
    lists = {key: value if isinstance(value, list) else [value] for key, value in data.items()}
    served = [
        TaskImage(key, item, _served(value))
        for key, values in lists.items()
        for item, value in enumerate(values)
        if isinstance(value, str)
    ]
    return [image for image in served if PurePosixPath(image.name).suffix.lower() in IMAGES]


def _served(address: str) -> str:
    """The name that a file had before it was served under an address; "" for what is no address."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    local = parse_qs(parts.query).get("d")
    if local:
        return local[0]
    path = PurePosixPath(unquote(parts.path))
    return UPLOADED.sub("", path.name) if "upload" in path.parts else str(path)


def _tasks(content: Any) -> list[dict[str, Any]]:
    """The tasks of an export, JSON-MIN's too; none for something else."""
    tasks = [_full(task) for task in content] if isinstance(content, list) else []
    return [task for task in tasks if isinstance(task, dict) and isinstance(task.get("data"), dict)]
