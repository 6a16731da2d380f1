"""Label Studio's JSON export: a list of tasks whose keypoints are percent of the image's width and height.

Names of images come back as Label Studio serves them: `/data/upload/1/4f0e12ab-IMAGE.jpg`, or
`/data/local-files/?d=FOLDER/IMAGE.jpg`. Where several people annotated a task,
the first annotation that was not cancelled counts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import Field

from components.crowd import Problem
from components.datasets.shared import json_records
from components.datasets.shared.files import IMAGES, annotation_file, annotation_files
from components.datasets.shared.listed import Entry, LabelledParams, Listed
from components.errors import UserError

UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of an uploaded file


class Params(LabelledParams):
    """`labels` are keypoint labels."""


class Value(json_records.Record):
    x: float = Field(description="percent of the width")
    y: float = Field(description="percent of the height")
    keypointlabels: tuple[str, ...] = ()


class Result(json_records.Record):
    type: str
    original_width: float = Field(gt=0, description="pixels")
    original_height: float = Field(gt=0, description="pixels")
    value: Value


class Annotation(json_records.Record):
    result: list[Any]
    was_cancelled: bool = False


class Task(json_records.Record):
    data: dict[str, Any]
    annotations: tuple[Annotation, ...] = ()


def build(params: Params) -> Listed:
    file = annotation_file(params.root, params.annotations, ".json")
    return Listed(params.root, file, partial(read, params))


def recognise(root: Path) -> list[dict[str, Any]]:
    files = {file: json_records.peek(file) for file in annotation_files(root, ".json")}
    return [{"annotations": str(file)} for file, tasks in files.items() if _is_tasks(tasks)]


def read(params: Params, file: Path, problems: list[Problem]) -> Iterator[Entry]:
    """An entry a task that somebody annotated. Raises UserError: not a list of tasks."""
    for task in json_records.records(json_records.load(file, list[Any]), Task, str(file), problems):
        done = [annotation for annotation in task.annotations if not annotation.was_cancelled]
        try:
            name = _name(task)
        except UserError as error:
            problems.append(Problem(str(file), str(error), "the task is left out"))
            continue
        if len(done) > 1:
            problems.append(Problem(str(file), f"{name} was annotated {len(done)} times", "the first counts"))
        if done:
            yield Entry(name, [*_dots(params, done[0].result, f"{file}: {name}", problems)], str(file))


def _dots(params: Params, results: list[Any], where: str, problems: list[Problem]) -> Iterator[tuple[float, float]]:
    """Dots in pixels; results that say something of the whole image are skipped, other shapes are problems."""
    regions = [each for each in results if not isinstance(each, dict) or "original_width" in each or _is_point(each)]
    others = [each for each in regions if isinstance(each, dict) and not _is_point(each)]
    if others:
        problems.append(
            Problem(where, f"regions that are no keypoints: {len(others)}", "dropped; mark them with points")
        )
    points = [each for each in regions if not isinstance(each, dict) or _is_point(each)]
    for result in json_records.records(points, Result, where, problems):
        if params.count(*result.value.keypointlabels):
            yield result.value.x * result.original_width / 100, result.value.y * result.original_height / 100


def _is_point(result: dict[str, Any]) -> bool:
    return result.get("type") in ("keypointlabels", "keypoint")


def _name(task: Task) -> str:
    """The image's file name: the first value of `data` that ends like one. Raises UserError."""
    for value in task.data.values():
        name = _served(value) if isinstance(value, str) else ""
        if PurePosixPath(name).suffix.lower() in IMAGES:
            return name
    raise UserError(f"a task whose data name no image: {', '.join(task.data) or 'no data'}")


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


def _is_tasks(content: Any) -> bool:
    return bool(isinstance(content, list) and content and isinstance(content[0], dict) and "data" in content[0])
