"""The files with dots of many images: where they lie, and which images each of them lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from components.config.options import Options
from components.datasets.shared.files import ANNOTATIONS, annotation_files, natural
from components.datasets.shared.halves import Halves, held_out_folders, resolve_halves, split_in_name
from components.datasets.shared.marks import Name, abbreviate
from components.errors import UserError

Names = Callable[[Path], set[str] | None]
"""The images that a file lists; None where it is of another kind. Raises UserError where that cannot be told."""


class Source(NamedTuple):
    """A file with dots, and the half that it lists."""

    file: Path
    split: str | None = None


class Params(Options):
    """Where images and dots lie, seen from the project's root."""

    root: Path = Field(description="the folder of the images, and of folders of images")
    annotations: Path | None = Field(
        None, description="the file, or a folder of files; none: those in `root` or `root/annotations`"
    )
    halves: Halves = Field(Halves(), description="folders of images or files with dots below `root`, by split")


class LabelledParams(Params):
    labels: tuple[Name, ...] = Field((), description="labels whose points count; none: all do")


class ShapeParams(LabelledParams):
    dots: Literal["points", "boxes"] = Field("points", description="boxes: the centre of each rectangle is a dot too")


def find_sources(params: Params, names: Names, *suffixes: str) -> list[Source]:
    """The files with dots: the given ones, or those in the root, in its folder `annotations`, or else anywhere in it.

    Beside files of held-out halves, others list training images where no training half is given. Raises UserError:
    none, or several that list the same images."""
    halves = resolve_halves(params.root, params.halves)
    by_half = [Source(path, split) for split, path in halves.items() if path.is_file()]
    if by_half and params.annotations is not None:
        raise UserError(f"{params.root}: set `annotations`, or files in `halves`, not both")
    if by_half:
        half = [source.file for source in by_half]
        rest = [file for file in annotation_files(params.root, *suffixes) if file not in half and "train" not in halves]
        return [*by_half, *(Source(file) for file in _of_kind(rest, names))]
    if params.annotations is not None:
        return [Source(file) for file in _given(params.annotations, suffixes)]
    found = annotation_files(params.root, *suffixes)
    if len(found) != 1:
        found = _of_kind(found, names) or _of_kind(_anywhere(params.root, suffixes), names) or found
    kinds = " or ".join(suffixes)
    if not found:
        raise UserError(
            f"{params.root}: has no {kinds} file with dots, nor has its folder {ANNOTATIONS}; set `annotations`"
        )
    if _overlap(found, names):
        these = abbreviate(path.name for path in found)
        raise UserError(
            f"{params.root}: {len(found)} {kinds} files may hold the dots: {these}; set `annotations` to one of them"
        )
    return [Source(file) for file in found]


def recognise_files(root: Path, names: Names, *suffixes: str) -> list[dict[str, Any]]:
    """Options of the data sets whose files of dots lie in a folder; of several files that list different images, one
    data set, with halves where their names or folders say so."""
    files = annotation_files(root, *suffixes)
    found = _of_kind(files, names, sure=True) or _of_kind(_anywhere(root, suffixes), names, sure=True)
    folders = held_out_folders(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    halves = {"halves": folders} if folders else {}
    if len(found) == 1:
        return [{"annotations": str(found[0])} | halves]
    splits = {split: file for file in found if (split := split_in_name(file.stem))}
    if found and len(splits) == len(found):
        return [{"halves": {split: file.relative_to(root).as_posix() for split, file in splits.items()}}]
    if found and not _overlap(found, names):
        return [halves]
    return [{"annotations": str(file)} | halves for file in found]


def _given(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """A file, or the files of a folder, in their order. Raises UserError: neither."""
    if path.is_file():
        return [path]
    found = _anywhere(path, suffixes) if path.is_dir() else []
    if not found:
        raise UserError(f"{path}: there is no such file; set `annotations` to the file with the dots")
    return found


def _anywhere(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    files = [path for path in root.rglob("*") if path.suffix.lower() in suffixes and path.is_file()]
    return sorted(files, key=lambda path: natural(path.as_posix()))


def _of_kind(files: list[Path], names: Names, sure: bool = False) -> list[Path]:
    """Without files of another kind, and with those of which it cannot be told unless only sure ones are wanted;
    nothing where none is sure."""
    found: dict[Path, bool | None] = {}
    for file in files:
        try:
            found[file] = names(file) is not None
        except UserError:
            found[file] = None
    wanted = (True,) if sure else (True, None)
    return [file for file, of_kind in found.items() if of_kind in wanted] if True in found.values() else []


def _overlap(files: list[Path], names: Names) -> bool:
    """Whether two files list one image; an image beside its file is another than one of its name elsewhere."""
    if len(files) < 2:
        return False
    seen: set[str] = set()
    for file in files:
        try:
            listed = {_place(file, name) for name in names(file) or ()}
        except UserError:
            continue  # said where the file is read
        if not seen.isdisjoint(listed):
            return True
        seen |= listed
    return False


def _place(file: Path, name: str) -> str:
    """The path of an image beside its file; the name alone of one elsewhere, or that no file can have."""
    try:
        return str(file.parent / name) if (file.parent / name).exists() else name
    except (OSError, ValueError):
        return name
