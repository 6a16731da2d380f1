"""CVAT's XML 1.1 "for images": `<image name><points label="head" points="x,y;x,y"/></image>`; each point is a dot.

With `dots: boxes` each `<box>` gives a dot at its centre too. Of a skeleton, those points count whose own label is in
`labels`. A point that is marked as outside is not in the image. Subsets called Train, Validation and Test are the
halves. The file comes from strangers: a document type, and so every entity that could expand, is refused before it is
read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from html import unescape
from math import isfinite
from pathlib import Path
from typing import Any
from xml.parsers import expat

from components.crowd import Problem
from components.datasets.shared.files import Images, read_text
from components.datasets.shared.halves import meant_split
from components.datasets.shared.listed import Listed
from components.datasets.shared.marks import Entry, Labels, Marks
from components.datasets.shared.sources import ShapeParams, find_sources, recognise_files
from components.errors import UserError

SHAPES = {"box", "polygon", "polyline", "ellipse", "cuboid", "mask", "skeleton"}
HEAD = "<annotations"
IMAGE_NAME = re.compile(r'<image\b[^<>]*?\bname="([^"<]*)"')  # no `<` inside: one search never runs into the next


class Params(ShapeParams):
    """`labels` are CVAT's labels."""


def build(params: Params) -> Listed:
    sources, labels = find_sources(params, names, ".xml"), Labels(params.labels)
    return Listed(params, sources, partial(read, params, labels), labels)


def recognise(root: Path) -> list[dict[str, Any]]:
    found = recognise_files(root, names, ".xml")
    texts = [file.read_bytes() for file in root.rglob("*.xml") if file.is_file()] if found else []
    only_boxes = any(b"<box" in text for text in texts) and not any(b"<points" in text for text in texts)
    return [each | ({"dots": "boxes"} if only_boxes else {}) for each in found]


def names(file: Path) -> set[str] | None:
    """The images that a file lists; None where it is not CVAT's. Raises UserError: no text."""
    text = read_text(file)
    if HEAD not in text[:1000]:
        return None
    return {unescape(name) for name in IMAGE_NAME.findall(text)}


def read(params: Params, labels: Labels, file: Path, images: Images, problems: list[Problem]) -> Iterator[Entry]:
    """An entry an image. Raises UserError: not XML, a document type, or a video's tracks; each with its line."""
    reader = _Reader(params, labels, file, problems)
    text = read_text(file).encode()
    try:
        reader.parser.Parse(text, True)
    except expat.ExpatError as error:
        raise UserError(f"line {error.lineno}: is not XML ({expat.ErrorString(error.code)})") from None
    yield from reader.entries


class _Reader:
    """Expat's events -> entries; `line` is where the parser stands."""

    def __init__(self, params: Params, labels: Labels, file: Path, problems: list[Problem]) -> None:
        self.params, self.labels, self.file, self.problems = params, labels, file, problems
        self.entries: list[Entry] = []
        self.parser = expat.ParserCreate("UTF-8")  # what `read_text` gives, whatever the file says of itself
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._refuse
        self._image: dict[str, str] = {}
        self._marks: Marks | None = None
        self._where = str(file)
        self._skeleton: dict[str, Any] | None = None

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
        elif self._marks and tag == "skeleton":
            self._skeleton = attributes | {"line": self.line, "taken": False}
        elif self._marks and (tag == "points" or tag in SHAPES):
            self._add(self._marks, tag, attributes)

    def _end(self, tag: str) -> None:
        if tag == "image" and self._marks:
            remedy = "; mark people with points, or set `dots: boxes` where boxes are people"
            size = (self._image.get("width"), self._image.get("height"))
            entry = self._marks.entry(self._image["name"], self._where, self.problems, size, remedy)
            self.entries.append(entry._replace(split=meant_split(self._image.get("subset", ""))))
            self._marks = None
        if tag == "skeleton" and self._marks and self._skeleton:
            if not self._skeleton["taken"]:
                self._marks.add_other(f"skeleton (line {self._skeleton['line']})", self._skeleton.get("label", ""))
            self._skeleton = None

    def _open_image(self, attributes: dict[str, str]) -> None:
        if "name" not in attributes:
            raise UserError(f"line {self.line}: an image without a name")
        self._image, self._marks, self._where = attributes, Marks(self.labels), f"{self.file}:{self.line}"

    def _add(self, marks: Marks, tag: str, attributes: dict[str, str]) -> None:
        """The dots of one shape. A skeleton's points count if `labels` asks for theirs."""
        label = attributes.get("label", "")
        if self._skeleton is not None:
            self._skeleton["taken"] |= label in self.labels.wanted
        if not self.labels.count(label) or (self._skeleton is not None and label not in self.labels.wanted):
            return
        if tag not in (("points", "box") if self.params.dots == "boxes" else ("points",)):
            marks.add_other(f"{tag} (line {self.line})", label)
            return
        if attributes.get("outside") == "1":
            what = f"{self._image['name']}: a point labelled {label!r} is marked as outside"
            self.problems.append(
                Problem(f"{self.file}:{self.line}", what, "not counted: it is not in the image", "shape-not-counted")
            )
            return
        try:
            marks.add(_dots(tag, attributes), label)
        except UserError as error:
            marks.faults.append(f"line {self.line}: {error}")


def _dots(tag: str, attributes: dict[str, str]) -> list[tuple[float, float]]:
    """The points of one element, or the centre of a box. Raises UserError: what is no list of points."""
    try:
        if tag == "box":
            left, top, right, bottom = (float(attributes[side]) for side in ("xtl", "ytl", "xbr", "ybr"))
            dots = [((left + right) / 2, (top + bottom) / 2)]
        else:
            dots = [(float(x), float(y)) for x, y in (each.split(",") for each in attributes["points"].split(";"))]
    except (ValueError, KeyError):
        written = attributes.get("points", "")[:60]
        raise UserError("the box lacks a side" if tag == "box" else f"points={written!r} is not x,y;x,y") from None
    if not all(isfinite(value) for dot in dots for value in dot):
        raise UserError(f"a {tag} is no place in an image")
    return dots
