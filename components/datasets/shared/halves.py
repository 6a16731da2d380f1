"""Halves of people's own data: which images are held out, by the folder they lie in or the file that lists them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from components.config.options import Options
from components.crowd import SPLITS
from components.errors import UserError

WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
FILLERS = {"data", "images", "img", "set", "half"}  # stand beside these words in names of folders


class Halves(Options):
    """Folders or files with dots, seen from `root`; a half that is not given is cut from the training images."""

    train: str | None = None
    val: str | None = None
    test: str | None = None

    def given(self) -> dict[str, str]:
        """The halves that are given, by split."""
        return {split: getattr(self, split) for split in SPLITS if getattr(self, split) is not None}


def resolve_halves(root: Path, halves: Halves) -> dict[str, Path]:
    """Folders and files by split. Raises UserError: one that is not below the root, or two that are one."""
    found = {split: root / written for split, written in halves.given().items()}
    for split, path in found.items():
        written = PurePosixPath(getattr(halves, split))
        if written.is_absolute() or ".." in written.parts or not path.exists():
            raise UserError(f"halves.{split}: there is no folder or file {str(written)!r} in {root}")
        if path in [other for name, other in found.items() if name != split]:
            raise UserError(f"halves.{split}: {str(written)!r} is another half too")
    return found


def split_in_folders(path: Path, halves: dict[str, Path]) -> str | None:
    """The split of the innermost folder of `halves` in which a path lies; None where it lies in none."""
    inside = [split for split, folder in halves.items() if folder in path.parents]
    return max(inside, key=lambda split: len(halves[split].parts), default=None)


def meant_split(name: str) -> str | None:
    """The split that a word means, in any case: `valid` is val. None for another word."""
    return WORDS.get(name.strip().casefold())


def split_in_name(name: str) -> str | None:
    """The split that the name of a file says in one of its words: instances_train2017.json."""
    found = {WORDS[word] for word in re.findall(r"[a-z]+", name.casefold()) if word in WORDS}
    return found.pop() if len(found) == 1 else None


def held_out_folders(names: Iterable[str]) -> dict[str, str]:
    """Folders called like splits among the folders of images (paths from the root), by split.

    Nothing where none is called like a held-out half, or where two folders mean one split."""
    folders: dict[str, set[str]] = {}
    for name in names:
        parts = PurePosixPath(name).parts[:-1]
        for depth, part in enumerate(parts, 1):
            if split := folder_split(part):
                folders.setdefault(split, set()).add("/".join(parts[:depth]))
                break
    one_each = all(len(found) == 1 for found in folders.values())
    if not one_each or not {"val", "test"} & {*folders}:
        return {}
    return {split: next(iter(folders[split])) for split in SPLITS if split in folders}


def folder_split(name: str) -> str | None:
    """The split of a folder whose name says that and no more: train, Test, val2017, test_data."""
    words = {*re.findall(r"[a-z]+", name.casefold())}
    return split_in_name(name) if words <= {*WORDS, *FILLERS} else None
