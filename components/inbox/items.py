"""Which objects of an inbox belong together: a picture and the file of its label, by their names.

Names come from strangers, and become names of files: each is checked before anything else is made of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from components.datasets.shared.files import IMAGES
from components.errors import UserError
from components.inbox.objects import StoredObject

KINDS = {"labelme": ".json", "yolo": ".txt"}  # whose label lies beside its picture, and the label's suffix
DOT_PNG = "dot_png"  # whose label is a picture
LONGEST_PART, DEEPEST = 120, 8  # bytes of a folder's or file's name, and folders in a path
ALLOWED = "letters, digits and - _ . , + = @ ( ) and single spaces"
RESERVED = {"con", "nul", "aux", "prn"}  # names that a file cannot have everywhere


class Item(NamedTuple):
    """A picture and its label; `name` is the picture's."""

    picture: StoredObject
    label: StoredObject

    @property
    def name(self) -> str:
        return self.picture.name


@dataclass
class Listing:
    """What there is in an inbox: whole items, and by name why others are left for later, or refused."""

    items: list[Item] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


class Naming:
    """How pictures and labels of one kind of data set are called. Raises UserError for a kind without a label for each
    picture beside it."""

    def __init__(self, kind: str, options: Any, where: str) -> None:
        if kind not in (*KINDS, DOT_PNG):
            raise UserError(f"{where}: an inbox cannot feed {kind}; it can feed {', '.join(sorted({*KINDS, DOT_PNG}))}")
        if getattr(options, "annotations", None) is not None:
            raise UserError(f"{where}.annotations: labels of an inbox lie beside their pictures; leave this option out")
        self._suffix = KINDS.get(kind)
        self._ends = ("", "") if kind != DOT_PNG else (options.image, options.dots)
        if any("{}" in end for end in self._ends):
            raise UserError(f"{where}: of an inbox, `image` and `dots` say how names end, such as cell and dots")

    def key(self, name: str) -> tuple[str, bool] | None:
        """What a picture and its label share of their names, and whether this is the label; None for neither."""
        path = PurePosixPath(name)
        stem, suffix = path.with_suffix("").as_posix(), path.suffix.lower()
        if suffix == self._suffix:
            return stem, True
        if suffix not in IMAGES:
            return None
        image, dots = self._ends
        if dots and stem.endswith(dots):
            return stem.removesuffix(dots), True
        return (stem.removesuffix(image), False) if stem.endswith(image) else None


def pair_objects(objects: Iterable[StoredObject], naming: Naming, now: float, settle: float) -> Listing:
    """The whole items of an inbox, by name. What changed less than `settle` seconds before `now`, and what lacks its
    other half, waits."""
    listing = Listing()
    halves: dict[str, tuple[list[StoredObject], list[StoredObject]]] = {}
    for stored in objects:
        reason = stored.refusal or name_refusal(stored.name)
        key = None if reason else naming.key(stored.name)
        if key is None:
            listing.refused[stored.name] = reason or "is neither a picture nor a label"
        else:
            halves.setdefault(key[0], ([], []))[key[1]].append(stored)
    for pictures, labels in halves.values():
        _pair(pictures, labels, listing, now, settle)
    return listing


def name_refusal(name: str) -> str:
    """Why an object's name cannot become the name of a file; empty where it can."""
    parts = name.split("/")
    if len(parts) > DEEPEST + 1:
        return f"lies more than {DEEPEST} folders deep"
    for part in parts:
        if part in ("", ".", "..") or part.startswith(".") or part != part.strip():
            return "its name has a part that is empty, hidden or a way out of the folder"
        if len(part.encode("utf-8", "replace")) > LONGEST_PART:
            return f"its name has a part of more than {LONGEST_PART} bytes"
        if not all(_is_allowed(letter) for letter in part) or "  " in part or part.endswith("."):
            return f"its name has other characters than {ALLOWED}"
        if part.split(".")[0].casefold() in RESERVED or unicodedata.normalize("NFC", part) != part:
            return "its name has a part that is another one on other systems"
    return ""


def _is_allowed(letter: str) -> bool:
    return letter in " -_.,+=@()" or unicodedata.category(letter)[0] in "LMN"


def _pair(
    pictures: list[StoredObject], labels: list[StoredObject], listing: Listing, now: float, settle: float
) -> None:
    """Put the objects of one name where they belong."""
    every = [*pictures, *labels]
    if any(abs(now - stored.changed) < settle for stored in every):
        listing.waiting |= {stored.name: f"changed less than {settle:g} s ago" for stored in every}
    elif len(pictures) > 1 or len(labels) > 1:
        names = " and ".join(sorted(stored.name for stored in every))
        listing.refused |= {stored.name: f"one name, several files: {names}" for stored in every}
    elif not labels:
        listing.waiting[pictures[0].name] = "has no label yet"
    elif not pictures:
        listing.waiting[labels[0].name] = "has no picture yet"
    else:
        listing.items.append(Item(pictures[0], labels[0]))
