"""Data sets in which one file, or several, list the dots of many images: what annotation tools export.

A file that cannot be read to its end is left out as a whole, and so is an image of whose annotation anything cannot be
read: a part of its dots would be a wrong count. An image that is listed twice is never a sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from components.crowd import Problem, ProblemId, RawSample
from components.datasets.shared.files import Images, image_size
from components.datasets.shared.halves import folder_split, held_out_folders, resolve_halves, split_in_folders
from components.datasets.shared.marks import MANY, Entry, Labels, abbreviate
from components.datasets.shared.sources import Params, Source
from components.errors import UserError

LEFT_OUT = "the image is left out"

Read = Callable[[Path, Images, list[Problem]], Iterable[Entry]]


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
                kind: ProblemId = "annotations-unusable" if len(found[name]) == 1 else "image-listed-twice"
                problems.append(Problem(found[name][0].where, f"{name} {error}", LEFT_OUT, kind))
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
            names = abbreviate(dict.fromkeys(repr(each.image) for each in rest))
            what = f"there are more names that fit no image: {names}"
            dots = sum(len(entry.dots) for entry in rest)
            problems.append(
                Problem(rest[0].where, what, f"their dots ({dots}) are dropped; add the images", "image-missing")
            )
        return found

    def _near(self, entry: Entry) -> list[str]:
        """Where an image of a name that several have lies first of all: beside its file, or in its half."""
        root, folder = self.images.root, Path(entry.where).parent
        beside = [folder.relative_to(root).as_posix()] if root in folder.parents else []
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
            some = abbreviate(path.name for name in names if (path := self.images.paths[name]).parent == folder)
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
    return f"{times} ({abbreviate(map(' '.join, zip(dots, places, strict=True)))})"
