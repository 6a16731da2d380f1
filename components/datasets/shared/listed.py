"""Data sets in which one file lists the dots of many images: what annotation tools export.

A file that cannot be read to its end is left out as a whole: half of its dots would be a wrong count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import Field

from components.config.options import Options
from components.crowd import Problem, RawSample
from components.datasets.shared.files import Images
from components.errors import UserError


class Entry(NamedTuple):
    """What a file says of one image; an image may have several entries, and their dots add."""

    image: str  # its name, as it is written
    dots: list[tuple[float, float]]  # x, y in pixels; none: the image shows nobody
    where: str  # file, or file:line


class Params(Options):
    """Where images and dots lie, seen from the project's root."""

    root: Path = Field(description="the folder of the images, and of folders of images")
    annotations: Path | None = Field(None, description="the file; none: the only one in `root` or `root/annotations`")


class LabelledParams(Params):
    labels: tuple[str, ...] = Field((), description="labels whose points count; none: all do")

    def count(self, *labels: str) -> bool:
        return not self.labels or not set(self.labels).isdisjoint(labels)


class Listed:
    """Raises UserError when there is no image in the root."""

    def __init__(self, root: Path, file: Path, read: Callable[[Path, list[Problem]], Iterable[Entry]]) -> None:
        self.images, self.file, self.read = Images(root), file, read

    def __len__(self) -> int:
        return len(self.images.paths)

    def samples(self, problems: list[Problem]) -> Iterator[RawSample]:
        """Listed images in the order of their paths, which are their ids; what does not match is in `problems`."""
        try:
            entries = list(self.read(self.file, problems))
        except UserError as error:
            problems.append(Problem(str(self.file), str(error), "the file is left out"))
            return
        found = self._by_image(entries, problems)
        for name, path in self.images.paths.items():
            if name in found:
                yield RawSample(name, path, np.array(found[name], np.float64).reshape(-1, 2))
            else:
                what = f"is not listed in {self.file.name}"
                problems.append(Problem(str(path), what, "left out; list it, without dots if it shows nobody"))

    def _by_image(self, entries: list[Entry], problems: list[Problem]) -> dict[str, list[tuple[float, float]]]:
        """Dots by the image's path; a name that fits no image is one problem, however many entries have it."""
        found: dict[str, list[tuple[float, float]]] = {}
        unknown: dict[str, list[Entry]] = {}
        for entry in entries:
            try:
                found.setdefault(self.images.find(entry.image), []).extend(entry.dots)
            except UserError as error:
                unknown.setdefault(str(error), []).append(entry)
        for what, lost in unknown.items():
            dots = sum(len(entry.dots) for entry in lost)
            problems.append(Problem(lost[0].where, what, f"its dots ({dots}) are dropped; add the image or correct it"))
        return found
