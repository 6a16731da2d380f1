"""CVAT's XML 1.1 "for images": `<image name><points label points="x,y;x,y"/></image>`; each point is a dot.

The file comes from strangers: a document type, and so every entity that could expand, is refused before it is read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from xml.parsers import expat

from components.crowd import Problem
from components.datasets.shared.files import annotation_file, annotation_files
from components.datasets.shared.listed import Entry, LabelledParams, Listed
from components.errors import UserError

SHAPES = {"box", "polygon", "polyline", "ellipse", "cuboid", "mask", "skeleton"}


class Params(LabelledParams):
    """`labels` are CVAT's labels."""


def build(params: Params) -> Listed:
    file = annotation_file(params.root, params.annotations, ".xml")
    return Listed(params.root, file, partial(read, params))


def recognise(root: Path) -> list[dict[str, Any]]:
    files = annotation_files(root, ".xml")
    return [{"annotations": str(file)} for file in files if b"<annotations" in file.read_bytes()[:1000]]


def read(params: Params, file: Path, problems: list[Problem]) -> Iterator[Entry]:
    """An entry an image. Raises UserError: not XML, a document type, or a video's tracks; each with its line."""
    reader = _Reader(params, file, problems)
    try:
        reader.parser.Parse(file.read_bytes(), True)
    except expat.ExpatError as error:
        raise UserError(f"line {error.lineno}: is not XML ({expat.ErrorString(error.code)})") from None
    yield from reader.entries


class _Reader:
    """Expat's events -> entries; `line` is where the parser stands."""

    def __init__(self, params: Params, file: Path, problems: list[Problem]) -> None:
        self.params, self.file, self.problems = params, file, problems
        self.entries: list[Entry] = []
        self.parser = expat.ParserCreate("UTF-8")  # what CVAT writes, whatever the file says of itself
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._refuse
        self._shape: str | None = None

    @property
    def line(self) -> int:
        return self.parser.CurrentLineNumber

    def _refuse(self, *_: Any) -> None:
        raise UserError(f"line {self.line}: has a document type (<!DOCTYPE>), which is refused: delete it")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "track":
            raise UserError(f"line {self.line}: holds the tracks of a video; export `CVAT for images 1.1`")
        if tag == "image":
            self._open_image(attributes)
        elif self._shape is None and (tag == "points" or tag in SHAPES):
            self._shape = tag
            self._add(tag, attributes)

    def _end(self, tag: str) -> None:
        if tag == self._shape:
            self._shape = None

    def _open_image(self, attributes: dict[str, str]) -> None:
        if "name" not in attributes:
            raise UserError(f"line {self.line}: an image without a name")
        self.entries.append(Entry(attributes["name"], [], f"{self.file}:{self.line}"))

    def _add(self, tag: str, attributes: dict[str, str]) -> None:
        label = attributes.get("label", "")
        if not self.entries or not self.params.count(label):
            return
        try:
            self.entries[-1].dots.extend(_dots(tag, attributes))
        except UserError as error:
            self.problems.append(Problem(f"{self.file}:{self.line}", str(error), "dropped; mark it with points"))


def _dots(tag: str, attributes: dict[str, str]) -> list[tuple[float, float]]:
    """The points of one element. Raises UserError: another shape, or what is no list of points."""
    if tag != "points":
        raise UserError(f"a {tag} labelled {attributes.get('label', '')!r} is not a point")
    written = attributes.get("points", "")
    try:
        return [(float(x), float(y)) for x, y in (point.split(",") for point in written.split(";"))]
    except ValueError:
        raise UserError(f"points={written[:60]!r} is not x,y;x,y") from None
