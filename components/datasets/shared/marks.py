"""What is marked in one image, whatever tool wrote it: dots, labels, and shapes that are no dots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import BeforeValidator

from components.crowd import Problem
from components.errors import UserError

SOME = 5  # how many of many like things a problem names
MANY = 20  # how many like things have a problem each

Name = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
"""A label or class that may be written as a number."""


class Entry(NamedTuple):
    """What a file says of one image, all of it."""

    image: str  # its name, as it is written
    dots: list[tuple[float, float]]  # x, y in pixels; none: the image shows nobody
    where: str  # file, or file:line
    size: tuple[float, float] | None = None  # width and height in pixels of the image to which the dots refer
    split: str | None = None
    fault: str | None = None  # why the image cannot be used
    fractions: bool = False  # the dots are fractions of width and height


class Labels:
    """Which labels count, as the option of that name says; it remembers those that it met."""

    def __init__(self, wanted: Iterable[str], option: str = "labels") -> None:
        self.wanted, self.met, self.option = frozenset(wanted), set[str](), option

    def count(self, *labels: str) -> bool:
        """Whether something with these labels counts."""
        self.met |= {*labels} or {""}
        return not self.wanted or not self.wanted.isdisjoint(labels)

    def check(self, where: str, problems: list[Problem]) -> None:
        """Say which wanted labels nothing has. Raises UserError where nothing has any of them."""
        missing = sorted(self.wanted - self.met)
        if not missing or not self.met:
            return
        there = abbreviate(map(repr, sorted(self.met)), MANY)
        what = f"nothing has what `{self.option}` names: {abbreviate(map(repr, missing))}; there are: {there}"
        if len(missing) == len(self.wanted):
            raise UserError(f"{what}: set `{self.option}` to some of these")
        problems.append(Problem(where, what, "the other labels count", "labels-unknown"))


class Marks:
    """What is marked in one image: its dots, and what cannot be read as dots."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.dots: list[tuple[float, float]] = []
        self.faults: list[str] = []
        self._dotted: set[str] = set()
        self._others: list[tuple[str, set[str]]] = []

    def add(self, dots: Iterable[tuple[float, float]], *labels: str) -> None:
        """Dots, if a label of theirs counts."""
        if self.labels.count(*labels):
            self.dots += dots
            self._dotted |= {*labels}

    def add_other(self, shape: str, *labels: str) -> None:
        """A shape that is not a dot, if a label of its counts."""
        if self.labels.count(*labels):
            self._others.append((f"{shape} labelled {' and '.join(map(repr, labels)) or 'nothing'}", {*labels}))

    def entry(
        self, image: str, where: str, problems: list[Problem], size: tuple[Any, Any] | None = None, remedy: str = ""
    ) -> Entry:
        """Other shapes are dropped, and named, where they have no label of the dots'; else the image cannot be used."""
        every_label = bool(self.labels.wanted) or not self.dots
        people = [text for text, labels in self._others if every_label or labels & self._dotted]
        rest = [text for text, labels in self._others if not every_label and not labels & self._dotted]
        if rest:
            what = f"{image}: {_counted(rest)}: not points"
            problems.append(Problem(where, what, "dropped; mark people with points", "shape-not-counted"))
        faults = [*self.faults, *([f"{_counted(people)}: not points{remedy}"] if people else [])]
        return Entry(image, self.dots, where, known_size(size), fault=abbreviate(faults, sign="; ") if faults else None)


def known_size(size: tuple[Any, Any] | None) -> tuple[float, float] | None:
    """A width and a height that a tool wrote; None where they are no numbers above 0."""
    try:
        width, height = map(float, size or (0, 0))
    except (TypeError, ValueError, OverflowError):
        return None
    return (width, height) if 0 < width < np.inf and 0 < height < np.inf else None


def abbreviate(texts: Iterable[str], most: int = SOME, sign: str = ", ") -> str:
    """The first of many texts, and how many more there are."""
    every = list(texts)
    more = [f"{len(every) - most} more"] if len(every) > most else []
    return sign.join([*every[:most], *more])


def _counted(texts: list[str]) -> str:
    return abbreviate(f"{number} {text}" for text, number in Counter(texts).items())
