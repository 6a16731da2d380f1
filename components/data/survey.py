"""What stands in a stream of images: the manifest's rows without splits, and the halves that the data set names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from components.crowd import Problem
from components.data import duplicates
from components.data.decode import Ready
from components.errors import UserError

Rows = list[dict[str, Any]]


def survey(images: Iterable[tuple[Ready, int | None]]) -> tuple[Rows, list[str | None]]:
    """Rows, with the copies of one picture in one group, and the published half of each image.

    With each image comes the number of its region of interest, if it has one."""
    rows, halves, looks = [], [], []
    for image, region in images:
        rows.append(_row(image) | {"region": region})
        halves.append(image.half)
        looks.append(duplicates.look(image.pixels))
    for row, group in zip(rows, duplicates.groups(looks).tolist(), strict=True):
        row["group"] = group
    return rows, halves


def none_usable(where: str, images: int, problems: list[Problem]) -> UserError:
    """The error of a data set of which nothing is left."""
    return UserError(f"{where}: no usable image among {images}; first problem: {': '.join(problems[0][:2])}")


def _row(image: Ready) -> dict[str, Any]:
    height, width = image.pixels.shape[:2]
    x, y = image.dots.T.tolist()
    return {
        "id": image.id,
        "height": height,
        "width": width,
        "scale": image.scale,
        "x": x,
        "y": y,
        "sha256": image.sha256,
        "scene": image.scene,
        "perspective": None if image.perspective is None else image.perspective.tolist(),
    }
