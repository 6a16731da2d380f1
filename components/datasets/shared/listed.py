"""Data sets in which one file, or several, list the dots of many images: what annotation tools export.

A file that cannot be read to its end is left out as a whole, and so is an image of whose annotation anything cannot be
read: a part of its dots would be a wrong count. An image that is listed twice is never a sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BeforeValidator, Field

from components.config.options import Options
from components.crowd import Problem, RawSample
from components.datasets.shared.files import ANNOTATIONS, Images, annotation_files, image_size, natural
from components.datasets.shared.halves import (
    Halves,
    folder_split,
    held_out_folders,
    resolve_halves,
    split_in_folders,
    split_in_name,
)
from components.errors import UserError

LEFT_OUT = "the image is left out"
SOME = 5  # how many of many like things a problem names
MANY = 20  # how many like things have a problem each


class Entry(NamedTuple):
    """What a file says of one image, all of it."""

    image: str  # its name, as it is written
    dots: list[tuple[float, float]]  # x, y in pixels; none: the image shows nobody
    where: str  # file, or file:line
    size: tuple[float, float] | None = None  # width and height in pixels of the image to which the dots refer
    split: str | None = None
    fault: str | None = None  # why the image cannot be used
    fractions: bool = False  # the dots are fractions of width and height


Read = Callable[[Path, Images, list[Problem]], Iterable[Entry]]
Names = Callable[[Path], set[str] | None]
"""The images that a file lists; None where it is of another kind. Raises UserError where that cannot be told."""


Name = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
"""A label or class that may be written as a number."""


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
        there = _some(map(repr, sorted(self.met)), MANY)
        what = f"nothing has what `{self.option}` names: {_some(map(repr, missing))}; there are: {there}"
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
        asked = bool(self.labels.wanted) or not self.dots
        people = [text for text, labels in self._others if asked or labels & self._dotted]
        rest = [text for text, labels in self._others if not asked and not labels & self._dotted]
        if rest:
            what = f"{image}: {_counted(rest)}: not points"
            problems.append(Problem(where, what, "dropped; mark people with points", "shape-not-counted"))
        faults = [*self.faults, *([f"{_counted(people)}: not points{remedy}"] if people else [])]
        return Entry(image, self.dots, where, known_size(size), fault=_some(faults, sign="; ") if faults else None)


def known_size(size: tuple[Any, Any] | None) -> tuple[float, float] | None:
    """A width and a height that a tool wrote; None where they are no numbers above 0."""
    try:
        width, height = map(float, size or (0, 0))
    except (TypeError, ValueError, OverflowError):
        return None
    return (width, height) if 0 < width < np.inf and 0 < height < np.inf else None


def find_sources(params: Params, names: Names, *suffixes: str) -> list[Source]:
    """The files with dots: the given ones, or those in the root, in its folder `annotations`, or else anywhere in it.

    Raises UserError: none, or several that list the same images."""
    halves = resolve_halves(params.root, params.halves)
    by_half = [Source(path, split) for split, path in halves.items() if path.is_file()]
    if by_half and params.annotations is not None:
        raise UserError(f"{params.root}: set `annotations`, or files in `halves`, not both")
    if by_half:
        return by_half
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
        these = _some(path.name for path in found)
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


class Listed:
    """Raises UserError when there is no image in the root."""

    def __init__(
        self,
        params: Params,
        sources: list[Source],
        read: Read,
        labels: Labels | None = None,
        first_counts: bool = False,  # of several entries of one image, the first counts
    ) -> None:
        self.images, self.sources, self.read, self.labels = Images(params.root), sources, read, labels
        self.first_counts = first_counts
        self._folders = sorted({parent for name in self.images.paths for parent in Path(name).parents})
        found = resolve_halves(params.root, params.halves)
        self.halves = {split: path for split, path in found.items() if path.is_dir()}
        self.whole = "train" in found  # an image that lies in no half is not for training

    def __len__(self) -> int:
        return len(self.images.paths)

    def id_of(self, name: str) -> str:
        """What an image is called, by its path from the root."""
        return name

    def samples(self, problems: list[Problem]) -> Iterator[RawSample]:
        """Listed images in the order of their paths, which are their ids; what does not match is in `problems`."""
        entries = self._entries(problems)
        if entries is None:
            return
        found = self._by_image(entries, problems)
        lost: list[str] = []
        for name, path in self.images.paths.items():
            if name not in found:
                lost.append(name)
                continue
            try:
                yield self._sample(name, path, found[name], problems)
            except UserError as error:
                problems.append(Problem(found[name][0].where, f"{name} {error}", LEFT_OUT, "annotations-unusable"))
        problems += self._unlisted(lost)
        problems += self._undeclared_halves(entries)

    def _entries(self, problems: list[Problem]) -> list[Entry] | None:
        """Of all files that can be read; None where no file can, or where nothing has any of the wanted labels."""
        entries, unreadable = [], 0
        for file, split in self.sources:
            try:
                found = [*self.read(file, self.images, problems)]
                entries += [entry._replace(split=entry.split or split) for entry in found]
            except UserError as error:
                problems.append(Problem(str(file), str(error), "the file is left out", "annotations-unusable"))
                unreadable += 1
        try:
            if self.labels:
                self.labels.check(str(self.sources[0].file), problems)
        except UserError as error:
            problems.append(Problem(str(self.sources[0].file), str(error), "all images are left out", "labels-unknown"))
            return None
        return None if unreadable == len(self.sources) else entries

    def _by_image(self, entries: list[Entry], problems: list[Problem]) -> dict[str, list[Entry]]:
        """Entries by the image's path; a name that fits no image is one problem, however many entries have it."""
        found: dict[str, list[Entry]] = {}
        unknown: dict[str, list[Entry]] = {}
        for entry in entries:
            try:
                found.setdefault(self.images.find(entry.image, self._near(entry)), []).append(entry)
            except UserError as error:
                unknown.setdefault(str(error), []).append(entry)
        for what, lost in [*unknown.items()][:MANY]:
            dots = sum(len(entry.dots) for entry in lost)
            problems.append(
                Problem(
                    lost[0].where, what, f"its dots ({dots}) are dropped; add the image or correct it", "image-missing"
                )
            )
        rest = [entry for lost in [*unknown.values()][MANY:] for entry in lost]
        if rest:
            what = f"there are more names that fit no image: {_some(dict.fromkeys(repr(each.image) for each in rest))}"
            dots = sum(len(entry.dots) for entry in rest)
            problems.append(
                Problem(rest[0].where, what, f"their dots ({dots}) are dropped; add the images", "image-missing")
            )
        return found

    def _near(self, entry: Entry) -> list[str]:
        """Where an image of a name that several have lies first of all: beside its file, or in its half."""
        root = self.images.root
        file = Path(entry.where.removeprefix(f"{root}/"))
        beside = [] if file.is_absolute() or file.parent == Path() else [file.parent.as_posix()]
        half = [str(each) for each in self._folders if entry.split and folder_split(each.name) == entry.split]
        return [*beside, *half]

    def _sample(self, name: str, path: Path, entries: list[Entry], problems: list[Problem]) -> RawSample:
        """Raises UserError: the image is listed twice, or its entry or its half does not do."""
        entry = entries[0]
        if len(entries) > 1:
            several = _several(entries)
            if not self.first_counts:
                raise UserError(f"is listed {several}: keep one of them")
            problems.append(
                Problem(entry.where, f"{name} is listed {several}", "the first counts", "image-listed-twice")
            )
        if entry.fault:
            raise UserError(f"cannot be used: {entry.fault}")
        dots = _in_pixels(entry, path, name, problems)
        return RawSample(self.id_of(name), path, dots, self._split(path, entry))

    def _split(self, path: Path, entry: Entry) -> str | None:
        """Raises UserError: two splits, or none where all training images lie in the training half."""
        folder = split_in_folders(path, self.halves)
        if folder and entry.split and folder != entry.split:
            raise UserError(f"is in {folder} by its folder and in {entry.split} by {Path(entry.where).name}")
        split = folder or entry.split
        if split is None and self.whole:
            raise UserError("lies in none of the `halves`")
        return split

    def _unlisted(self, names: list[str]) -> Iterator[Problem]:
        """A problem for each image, or for a folder of several of which no image is listed."""
        files = self.sources[0].file.name if len(self.sources) == 1 else f"any of {len(self.sources)} files"
        of_all = Counter(path.parent for path in self.images.paths.values())
        folders = Counter(self.images.paths[name].parent for name in names)
        whole = {folder for folder, number in folders.items() if number == of_all[folder] > 1 or number > MANY}
        for folder in sorted(whole):
            some = _some(path.name for name in names if (path := self.images.paths[name]).parent == folder)
            what = (
                f"{folders[folder]} of the {of_all[folder]} images in this folder are not labelled in {files}: {some}"
            )
            yield Problem(str(folder), what, "left out", "image-unlisted")
        for path in (self.images.paths[name] for name in names):
            if path.parent not in whole:
                yield Problem(str(path), *self.unlisted(path, files), "image-unlisted")

    def unlisted(self, path: Path, files: str) -> tuple[str, str]:
        """What is wrong with an image that no file lists, and what is done."""
        return f"is not listed in {files}", "left out; list it, without dots if it shows nobody"

    def _undeclared_halves(self, entries: list[Entry]) -> Iterator[Problem]:
        """A problem where folders are called like halves, and the option does not name any."""
        folders = held_out_folders(self.images.paths)
        if folders and not self.halves and not any(entry.split for entry in entries):
            yield undeclared_halves(self.images.root, folders)


def undeclared_halves(root: Path, folders: dict[str, str]) -> Problem:
    """Folders that are called like halves, of which no option says that they are."""
    setting = ", ".join(f"{split}: {folder}" for split, folder in folders.items())
    what = f"its folders {' and '.join(folders.values())} are called like halves, but `halves` is not set"
    return Problem(
        str(root), what, f"all images are one set, held-out ones too; set `halves: {{{setting}}}`", "halves-undeclared"
    )


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


def _in_pixels(entry: Entry, path: Path, name: str, problems: list[Problem]) -> np.ndarray:
    """Dots (N, 2) float64 in pixels of the image as it is. Raises UserError: it has another shape than its dots say."""
    dots = np.array(entry.dots, np.float64).reshape(-1, 2)
    size = image_size(path) if entry.size or entry.fractions else None
    if size is None:
        return dots
    if entry.fractions:
        scaled: np.ndarray = dots * size
        return scaled
    assert entry.size is not None
    width, height = entry.size
    if (round(width), round(height)) == size:
        return dots
    scale = np.array([size[0] / width, size[1] / height])
    says = f"was annotated at {width:g} x {height:g} px and has {size[0]} x {size[1]} px"
    if abs(size[0] - width * scale[1]) > max(1, scale[1]) and abs(size[1] - height * scale[0]) > max(1, scale[0]):
        raise UserError(f"{says}: annotate the image as it is")
    problems.append(Problem(entry.where, f"{name} {says}", "its dots are scaled", "size-differs"))
    dots *= scale
    return dots


def _several(entries: list[Entry]) -> str:
    """How often an image is listed, with how many dots, and where."""
    times = "twice" if len(entries) == 2 else f"{len(entries)} times"
    dots = [f"{len(entry.dots)} {'dot' if len(entry.dots) == 1 else 'dots'}" for entry in entries]
    places = [f"as {entry.image!r} in {Path(entry.where).name}" for entry in entries]
    return f"{times} ({_some(map(' '.join, zip(dots, places, strict=True)))})"


def _counted(texts: list[str]) -> str:
    return _some(f"{number} {text}" for text, number in Counter(texts).items())


def _some(texts: Iterable[str], most: int = SOME, sign: str = ", ") -> str:
    """The first of many texts, and how many more there are."""
    every = list(texts)
    more = [f"{len(every) - most} more"] if len(every) > most else []
    return sign.join([*every[:most], *more])
