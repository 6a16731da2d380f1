"""COCO's JSON (Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014): keypoints, points, or boxes.

One annotation is one object and gives one dot: with `dots: keypoints` its only labelled keypoint, or the one that
`keypoint` names (a person of COCO has 17); with `dots: boxes` the centre of its box. An object of which nobody labelled
a keypoint gives none; one that cannot be read leaves its image out. COCO's own files for training and validation are
one data set with `halves: {train: annotations/instances_train2017.json, val: annotations/instances_val2017.json}`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from components.crowd import Problem
from components.datasets.shared import json_records
from components.datasets.shared.files import Images
from components.datasets.shared.listed import Listed
from components.datasets.shared.marks import Entry, Labels, Marks
from components.datasets.shared.sources import LabelledParams, find_sources, recognise_files
from components.errors import UserError


class Params(LabelledParams):
    """`labels` are names of categories."""

    dots: Literal["keypoints", "boxes"] = Field("keypoints", description="what of an object is its dot")
    keypoint: str | None = Field(None, description="the name of the keypoint that counts; none: the only labelled one")


class Image(json_records.Record):
    id: int | str
    file_name: str
    width: Any = None
    height: Any = None


class Category(json_records.Record):
    id: int | str
    name: str
    keypoints: tuple[str, ...] | None = None


class Annotation(json_records.Record):
    id: Any = "without id"
    image_id: int | str
    category_id: int | str | None = None
    keypoints: Any = None  # x, y, visibility: 0 is not labelled
    bbox: Any = None  # left, top, width, height
    iscrowd: Any = 0


class File(json_records.Record):
    images: list[Image]
    categories: tuple[Category, ...] | None = None
    annotations: list[Any]


class Schema(NamedTuple):
    """What is read of an annotation."""

    params: Params
    categories: dict[str, Category]


def build(params: Params) -> Listed:
    sources, labels = find_sources(params, names, ".json"), Labels(params.labels)
    return Listed(params, sources, partial(read, params, labels), labels)


def recognise(root: Path) -> list[dict[str, Any]]:
    return [found | {"dots": _likely(root, found)} for found in recognise_files(root, names, ".json")]


def names(file: Path) -> set[str] | None:
    """The images that a file of COCO's lists; None where it is none. Raises UserError: not JSON."""
    held = json_records.load(file, Any)
    if not isinstance(held, dict) or not {"images", "annotations"} <= {*held}:
        return None
    images = held["images"] if isinstance(held["images"], list) else []
    return {str(image["file_name"]) for image in images if isinstance(image, dict) and "file_name" in image}


def read(params: Params, labels: Labels, file: Path, images: Images, problems: list[Problem]) -> Iterator[Entry]:
    """An entry an image. Raises UserError: not the schema."""
    content = json_records.load(file, File)
    schema = Schema(params, {str(each.id): each for each in content.categories or ()})
    marks = {str(image.id): Marks(labels) for image in content.images}
    uncounted = dict.fromkeys(marks, 0)  # objects that count and have no dot
    for annotation in json_records.records(content.annotations, Annotation, f"{file}: annotations", problems):
        number = str(annotation.image_id)
        if number not in marks:
            what = f"image_id {annotation.image_id} is not in `images`"
            problems.append(Problem(f"{file}: annotation {annotation.id}", what, "dropped", "image-missing"))
        elif not _add(schema, annotation, marks[number]):
            what = f"has no {'bbox' if params.dots == 'boxes' else 'labelled keypoint'}"
            problems.append(Problem(f"{file}: annotation {annotation.id}", what, "dropped", "shape-not-counted"))
            uncounted[number] += 1
    same_id = _same_id(content.images)
    for image in content.images:
        own = marks[str(image.id)]
        if len(same_id[str(image.id)]) > 1:
            own.faults = [f"the id {image.id} stands for {' and '.join(map(repr, same_id[str(image.id)]))}"]
        elif uncounted[str(image.id)] and not own.dots:
            own.faults.append(f"has {uncounted[str(image.id)]} objects and no dot")
        yield own.entry(image.file_name, str(file), problems, (image.width, image.height))


def _same_id(images: list[Image]) -> dict[str, list[str]]:
    """Names by id: those of whose images nothing can be told apart."""
    found: dict[str, list[str]] = {}
    for image in images:
        found.setdefault(str(image.id), []).append(image.file_name)
    return found


def _add(schema: Schema, annotation: Annotation, marks: Marks) -> bool:
    """Add the dot of an object, or what is wrong with it; False where it has none."""
    category = schema.categories.get(str(annotation.category_id), Category(id="", name=""))
    if not marks.labels.count(category.name):
        return True
    try:
        dot = _dot(schema.params, annotation, category)
    except UserError as error:
        marks.faults.append(f"annotation {annotation.id} {error}")
        return True
    if dot is not None:
        marks.dots.append(dot)
    return dot is not None


def _dot(params: Params, annotation: Annotation, category: Category) -> tuple[float, float] | None:
    """The dot of one annotation, if it has any. Raises UserError: it cannot be read, or has more than one."""
    if annotation.iscrowd:
        raise UserError("marks a group (iscrowd), not one object")
    if params.dots == "boxes":
        return _centre(annotation)
    labelled = _labelled(annotation, category)
    if params.keypoint is not None:
        return labelled.get(params.keypoint)
    if len(labelled) > 1:
        hint = f": set `keypoint` to one of {', '.join(category.keypoints)}" if category.keypoints else ""
        raise UserError(f"has {len(labelled)} labelled keypoints, not one{hint}")
    return next(iter(labelled.values()), None)


def _labelled(annotation: Annotation, category: Category) -> dict[str, tuple[float, float]]:
    """Labelled keypoints by name; by number where the category gives too few names. Raises UserError: no triples."""
    values = _numbers(annotation.keypoints, "keypoints")
    if len(values) % 3:
        raise UserError(f"has {len(values)} numbers as keypoints, not x, y, visibility of each")
    names = dict(enumerate(category.keypoints or ()))
    triples = enumerate(zip(values[::3], values[1::3], values[2::3], strict=True))
    return {names.get(number, str(number)): (x, y) for number, (x, y, visibility) in triples if visibility > 0}


def _centre(annotation: Annotation) -> tuple[float, float] | None:
    values = _numbers(annotation.bbox, "bbox")
    if annotation.bbox is None:
        return None
    if len(values) != 4:
        raise UserError(f"has {len(values)} numbers as bbox, not left, top, width, height")
    left, top, width, height = values
    return left + width / 2, top + height / 2


def _numbers(values: Any, what: str) -> list[float]:
    """A list of numbers; none for null. Raises UserError: something else."""
    try:
        numbers = [float(value) for value in (values if values is not None else [])]
    except (TypeError, ValueError, OverflowError):
        numbers = [float("nan")]
    if not all(map(isfinite, numbers)):
        raise UserError(f"has {what} that are no list of numbers")
    return numbers


def _likely(root: Path, found: dict[str, Any]) -> str:
    """Boxes, where no annotation has a keypoint."""
    halves = [root / each for each in found.get("halves", {}).values()]
    files = [Path(found["annotations"])] if "annotations" in found else [file for file in halves if file.is_file()]
    held = [json_records.peek(file) for file in files or sorted(root.rglob("*.json"))[:1]]
    annotations = [each.get("annotations") for each in held if isinstance(each, dict)]
    every = [each for some in annotations if isinstance(some, list) for each in some]
    return "keypoints" if any(isinstance(each, dict) and each.get("keypoints") for each in every) else "boxes"
