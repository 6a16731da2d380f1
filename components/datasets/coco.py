"""COCO's JSON (Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014): keypoints, points, or boxes.

One annotation is one object and gives one dot: with `dots: keypoints` its only labelled keypoint, or the one that
`keypoint` names (a person of COCO has 17); with `dots: boxes` the centre of its box."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

from components.crowd import Problem
from components.datasets.shared import json_records
from components.datasets.shared.files import annotation_file, annotation_files
from components.datasets.shared.listed import Entry, LabelledParams, Listed
from components.errors import UserError


class Params(LabelledParams):
    """`labels` are names of categories."""

    dots: Literal["keypoints", "boxes"] = "keypoints"
    keypoint: str | None = None


class Image(json_records.Record):
    id: int | str
    file_name: str


class Category(json_records.Record):
    id: int | str
    name: str
    keypoints: tuple[str, ...] = ()


class Annotation(json_records.Record):
    id: int | str = "without id"
    image_id: int | str
    category_id: int | str = ""
    keypoints: tuple[float, ...] = ()  # x, y, visibility: 0 is not labelled
    bbox: tuple[float, float, float, float] | None = None  # left, top, width, height
    iscrowd: int = 0


class File(json_records.Record):
    images: list[Image]
    categories: tuple[Category, ...] = ()
    annotations: list[Any]


def build(params: Params) -> Listed:
    file = annotation_file(params.root, params.annotations, ".json")
    return Listed(params.root, file, partial(read, params))


def recognise(root: Path) -> list[dict[str, Any]]:
    files = {file: json_records.peek(file) for file in annotation_files(root, ".json")}
    coco = {
        file: held for file, held in files.items() if isinstance(held, dict) and {"images", "annotations"} <= {*held}
    }
    return [{"annotations": str(file), "dots": _likely(held)} for file, held in coco.items()]


def read(params: Params, file: Path, problems: list[Problem]) -> Iterator[Entry]:
    """Every image, then every annotation that counts. Raises UserError: not the schema."""
    content = json_records.load(file, File)
    names = {image.id: image.file_name for image in content.images}
    categories = {category.id: category for category in content.categories}
    unnamed = Category(id="", name="")
    yield from (Entry(name, [], str(file)) for name in names.values())
    for annotation in json_records.records(content.annotations, Annotation, f"{file}: annotations", problems):
        category = categories.get(annotation.category_id, unnamed)
        if not params.count(category.name):
            continue
        try:
            yield Entry(_image(names, annotation), [_dot(params, annotation, category)], str(file))
        except UserError as error:
            problems.append(Problem(f"{file}: annotation {annotation.id}", str(error), "dropped"))


def _image(names: dict[int | str, str], annotation: Annotation) -> str:
    if annotation.image_id not in names:
        raise UserError(f"image_id {annotation.image_id} is not in `images`")
    return names[annotation.image_id]


def _dot(params: Params, annotation: Annotation, category: Category) -> tuple[float, float]:
    """The dot of one annotation. Raises UserError: it has none, or more than one."""
    if annotation.iscrowd:
        raise UserError("marks a group (iscrowd), not one object")
    if params.dots == "boxes":
        return _centre(annotation)
    labelled = _labelled(annotation, category)
    if params.keypoint is not None:
        if params.keypoint not in labelled:
            raise UserError(f"keypoint {params.keypoint!r} is not labelled")
        return labelled[params.keypoint]
    if len(labelled) != 1:
        names = f": set `keypoint` to one of {', '.join(category.keypoints)}" if category.keypoints else ""
        raise UserError(f"has {len(labelled)} labelled keypoints, not one{names if labelled else ''}")
    return next(iter(labelled.values()))


def _labelled(annotation: Annotation, category: Category) -> dict[str, tuple[float, float]]:
    """Labelled keypoints by name; by number where the category gives too few names."""
    values = annotation.keypoints
    triples = enumerate(zip(values[::3], values[1::3], values[2::3], strict=False))
    names = dict(enumerate(category.keypoints))
    return {names.get(number, str(number)): (x, y) for number, (x, y, visibility) in triples if visibility > 0}


def _centre(annotation: Annotation) -> tuple[float, float]:
    if annotation.bbox is None:
        raise UserError("has no bbox")
    left, top, width, height = annotation.bbox
    return left + width / 2, top + height / 2


def _likely(content: dict[str, Any]) -> str:
    """Boxes, where no annotation has a keypoint."""
    annotations = content["annotations"] if isinstance(content["annotations"], list) else []
    return "keypoints" if any(isinstance(each, dict) and each.get("keypoints") for each in annotations) else "boxes"
