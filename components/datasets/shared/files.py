"""Files of a raw data set: which are images, in which order they stand, and which file holds the dots."""

from __future__ import annotations

import re
from pathlib import Path

from components.errors import UserError

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
ANNOTATIONS = "annotations"  # the folder in which many tools put their file


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers in names by their value: IMG_2 before IMG_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def images_by_stem(folder: Path, pattern: str = "*") -> dict[str, Path]:
    """The images of one folder by their name without suffix."""
    return {path.stem: path for path in folder.glob(pattern) if is_image(path)}


def is_image(path: Path) -> bool:
    """By its suffix; hidden files, such as those that macOS puts beside others, are no images."""
    return path.suffix.lower() in IMAGES and not path.name.startswith(".")


def annotation_files(root: Path, *suffixes: str) -> list[Path]:
    """Files with one of the suffixes in a folder and in its folder `annotations`."""
    folders = (root, root / ANNOTATIONS)
    files = [path for folder in folders for path in folder.glob("*") if path.is_file()]
    return sorted(path for path in files if path.suffix.lower() in suffixes)


def annotation_file(root: Path, given: Path | None, *suffixes: str) -> Path:
    """The file with the dots: the given one, or the only one that there is. Raises UserError: none, or several."""
    if given is not None:
        if not given.is_file():
            raise UserError(f"{given}: there is no such file; set `annotations` to the file with the dots")
        return given
    found = annotation_files(root, *suffixes)
    if len(found) == 1:
        return found[0]
    kinds = " or ".join(suffixes)
    if not found:
        raise UserError(f"{root}: has no {kinds} file with dots, nor has its folder {ANNOTATIONS}; set `annotations`")
    names = ", ".join(path.name for path in found)
    raise UserError(f"{root}: {len(found)} {kinds} files may hold the dots: {names}; set `annotations` to one of them")


class Images:
    """The images under a folder, found by the names that annotations use for them.

    Names come from strangers: they are only looked up among the files that are there, never opened.
    Raises UserError when there is no image."""

    def __init__(self, root: Path) -> None:
        self.root = root
        paths = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if is_image(path)}
        if not paths:
            raise UserError(f"{root}: there is no image in this folder; set `root` to the folder that holds them")
        self.paths = {name: paths[name] for name in sorted(paths, key=natural)}
        self._by_base: dict[str, list[str]] = {}
        for name, path in self.paths.items():
            self._by_base.setdefault(path.name, []).append(name)

    def find(self, written: str) -> str:
        """The path, seen from the root, of the image that an annotation calls so: by path, or by a name that is unique.

        Raises UserError: no image, or several, of that name."""
        name = written.replace("\\", "/").removeprefix("./")
        if name in self.paths:
            return name
        same = self._by_base.get(name.rpartition("/")[2], [])
        if len(same) == 1:
            return same[0]
        if not same:
            raise UserError(f"there is no image {written!r} in {self.root}")
        raise UserError(f"{written!r} may be {' or '.join(same)}: write its path from {self.root}")
