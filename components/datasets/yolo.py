"""YOLO's text files as Ultralytics lays them out: `images/train/a.jpg` with `labels/train/a.txt`, a line an object.

A line is `class x y width height`, in fractions of the image's width and height; the middle x, y of a box is a dot. An
empty file says that the image shows nobody; an image without a file was not labelled. `train/images` with
`train/labels`, and files beside their images, are read too. Names of classes come from `data.yaml` or `classes.txt` in
the root.

The halves are those of the option `halves`; else the folders, or text files that list images, which `data.yaml` names
as `train`, `val` and `test`; else folders called train, val (or valid) and test."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import isfinite
from os.path import normpath
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pydantic import Field

from components.config import yaml_text
from components.crowd import Problem, RawSample
from components.datasets.shared import sources
from components.datasets.shared.files import Images, is_image, natural, read_text
from components.datasets.shared.halves import Halves, held_out_folders, meant_split
from components.datasets.shared.listed import Listed, Read
from components.datasets.shared.marks import Entry, Labels, Marks, Name
from components.datasets.shared.sources import Source
from components.errors import UserError

NAMES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names")  # of these in the root, the first names the classes
NOT_LABELS = {"classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt", "requirements.txt"}
NUMBERS = 5  # on every line
ROUNDING = 1e-4  # how far beyond 0 and 1 a place may lie


class Params(sources.Params):
    """`root` holds `images` and `labels`. `annotations` is not needed."""

    classes: tuple[Name, ...] = Field((), description="classes that count, by number or name; none: all do")


class Description(NamedTuple):
    """What a file in the root says of the data set: names of classes by their number as it is written, and the paths of
    each half; `folder` is that from which these paths start, where the file names one."""

    file: Path
    names: dict[str, str]
    halves: dict[str, list[str]]
    folder: str = ""


class Yolo(Listed):
    """`missing` are problems of what `data.yaml` names that is not there."""

    def __init__(
        self, params: Params, sources: list[Source], read: Read, classes: Labels, missing: list[Problem]
    ) -> None:
        super().__init__(params, sources, read, classes)
        self.missing = missing

    def samples(self, problems: list[Problem]) -> Iterator[RawSample]:
        problems += self.missing
        yield from super().samples(problems)

    def unlisted(self, path: Path, files: str) -> tuple[str, str]:
        return "has no .txt with its labels", "left out: it is not labelled; an empty file says that it shows nobody"


def build(params: Params) -> Yolo:
    if params.annotations is not None:
        raise UserError("annotations: yolo looks for a file of labels for each image; leave this option out")
    images = Images(params.root)
    owners: dict[str, list[str]] = {}
    for name in images.paths:
        owners.setdefault(_labels_of(name), []).append(name)
    sources = [Source(path) for path in _label_files(params.root, images)]
    if not any(source.file.relative_to(params.root).as_posix() in owners for source in sources):
        raise UserError(f"{params.root} has no image with its labels: looked for images/a.jpg with labels/a.txt")
    description, splits, missing = describe(params.root), dict[str, str](), list[Problem]()
    if not params.halves.given() and description and description.halves:
        splits, missing = split_by_description(description, images)
    elif not params.halves.given():
        params = params.model_copy(update={"halves": Halves(**held_out_folders(images.paths))})
    classes = Labels(params.classes, "classes")
    names = description.names if description else {}
    return Yolo(params, sources, partial(read, owners, splits, names, classes), classes, missing)


def recognise(root: Path) -> list[dict[str, Any]]:
    """Folders of images and files of labels of which the first line has five numbers."""
    names = [path.relative_to(root).as_posix() for path in root.rglob("*") if is_image(path)]
    files = sorted(root / _labels_of(name) for name in names if (root / _labels_of(name)).is_file())
    first = next((line for file in files if (line := _first_line(file))), None)
    return [{}] if files and (first is None or len(first.split()) == NUMBERS) else []


def describe(root: Path) -> Description | None:
    """What the first of the files `NAMES` in the root says; None where there is none. Raises UserError, which names the
    file."""
    file = next((root / name for name in NAMES if (root / name).is_file()), None)
    if file is None:
        return None
    try:
        text = read_text(file)
        said = yaml_text.parse(text) if file.suffix == ".yaml" else {"names": text.splitlines()}
        pairs = said["names"].items() if isinstance(said["names"], dict) else enumerate(said["names"])
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    except (LookupError, TypeError) as error:
        raise UserError(f"{file}: names no classes ({type(error).__name__})") from None
    halves: dict[str, list[str]] = {}
    for key, value in said.items():
        if value and (split := meant_split(str(key))):
            halves[split] = [str(each) for each in (value if isinstance(value, list) else [value])]
    names = {str(number): str(name).strip() for number, name in pairs}
    return Description(file, names, halves, str(said.get("path") or ""))


def split_by_description(description: Description, images: Images) -> tuple[dict[str, str], list[Problem]]:
    """The split of every image that lies in one of the halves, and a problem for each listed image that is not there.

    Raises UserError: a half that is not in the root, holds no image, or shares an image with another."""
    splits: dict[str, str] = {}
    problems: list[Problem] = []
    for split, paths in description.halves.items():
        half = {name for path in paths for name in _named(description, split, path, images, problems)}
        if twice := sorted(name for name in half if name in splits):
            raise UserError(f"{description.file}: {split}: {twice[0]} is in {splits[twice[0]]} too; set `halves`")
        splits |= dict.fromkeys(half, split)
    return splits, problems


def read(
    owners: dict[str, list[str]],
    splits: dict[str, str],
    names: dict[str, str],
    classes: Labels,
    file: Path,
    images: Images,
    problems: list[Problem],
) -> Iterator[Entry]:
    """The entry of one file; `owners` are the images of each file of labels, of which there should be one. `splits` are
    those that `data.yaml` gives to images, if it does."""
    same = owners.get(file.relative_to(images.root).as_posix(), [])
    marks = Marks(classes)
    try:
        for number, line in enumerate(read_text(file).splitlines(), 1):
            if line.strip():
                _add(marks, names, number, line)
    except UserError as error:
        marks.faults.append(str(error))
    if not same:
        problems.append(
            Problem(str(file), "has no image", f"its dots ({len(marks.dots)}) are dropped", "image-missing")
        )
    if len(same) > 1:
        marks.faults.append(f"{' and '.join(same)} share {file.name}: keep one of them")
    if splits and any(name not in splits for name in same):
        marks.faults.append("data.yaml has it in no half")
    for name in same:
        yield marks.entry(name, str(file), problems)._replace(fractions=True, split=splits.get(name))


def _named(description: Description, split: str, path: str, images: Images, problems: list[Problem]) -> Iterator[str]:
    """The images of a folder, or of a text file with a path in each line, as their paths from the root."""
    root, where = images.root, f"{description.file}: {split}"
    found = next((place for place in _places(description, root, path) if (root / place).exists()), None)
    if found is None:
        raise UserError(f"{where}: there is no {path!r} in {root}; correct it, or set `halves`")
    if (root / found).is_dir():
        inside = [name for name in images.paths if PurePosixPath(found) in PurePosixPath(name).parents]
        if not inside:
            raise UserError(f"{where}: there is no image in {path!r}")
        yield from inside
        return
    for number, line in enumerate(read_text(root / found).splitlines(), 1):
        beside = normpath(f"{PurePosixPath(found).parent}/{line.strip()}")
        name = next((place for place in (beside, *_places(description, root, line)) if place in images.paths), None)
        if name is not None:
            yield name
        elif line.strip():
            what = f"there is no image {line.strip()!r} in {root}"
            problems.append(Problem(f"{root / found}:{number}", what, "left out; add it", "image-missing"))


def _places(description: Description, root: Path, path: str) -> list[str]:
    """Where a path of `data.yaml` may lie, seen from the root and never outside: in `path`, in the root, or there after
    a leading `../`, which exporting tools write by mistake."""
    plain = path.strip().replace("\\", "/")
    starts = (root / description.folder, root)
    written = [Path(normpath(start / each)) for each in (plain, plain.removeprefix("../")) for start in starts]
    top = Path(normpath(root))
    inside = [place.relative_to(top).as_posix() for place in written if place.is_relative_to(top)]
    return [place for place in inside if _is_below(root / place, root)]


def _is_below(path: Path, root: Path) -> bool:
    """Whether a path lies in the root when links in it are followed; not one that no file can have."""
    try:
        path.exists()  # a name that is too long
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, ValueError):
        return False


def _add(marks: Marks, names: dict[str, str], number: int, line: str) -> None:
    """The middle of one line's box. Raises UserError: a line that is none."""
    words = line.split()
    try:
        x, y, _width, _height = places = [float(word) for word in words[1:]]
    except ValueError:
        raise UserError(f"line {number}: {line[:60]!r} is not class x y width height of a box") from None
    inside = all(isfinite(value) and -ROUNDING <= value <= 1 + ROUNDING for value in places)
    if not words[0].isdecimal() or not inside:
        raise UserError(f"line {number}: {line[:60]!r} is not a number of a class and fractions from 0 to 1")
    marks.add([(min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0))], *{words[0], names.get(words[0], words[0])})


def _label_files(root: Path, images: Images) -> list[Path]:
    """Text files in folders called labels, or beside images."""
    beside = {path.parent for path in images.paths.values()}
    files = [
        path for path in root.rglob("*.txt") if "labels" in path.relative_to(root).parts[:-1] or path.parent in beside
    ]
    found = [path for path in files if path.name.casefold() not in NOT_LABELS]
    return sorted(found, key=lambda path: natural(path.as_posix()))


def _labels_of(name: str) -> str:
    """Where the labels of an image lie, both seen from the root: the last folder `images` is called `labels`."""
    parts = list(PurePosixPath(name).with_suffix(".txt").parts)
    folders = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return "/".join(parts)


def _first_line(file: Path) -> str:
    """The first line that is not empty; "" where there is none, or no text."""
    try:
        return next((line for line in read_text(file).splitlines() if line.strip()), "")
    except UserError:
        return ""
