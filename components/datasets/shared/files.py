"""Files of a raw data set: which are images, in which order they stand, what they are called, and text in them."""

from __future__ import annotations

import re
import unicodedata
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from PIL import Image

from components.data.decode import open_image, refuse_special
from components.errors import UserError

Key = Callable[[str], str]
IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
ANNOTATIONS = "annotations"  # the folder in which many tools put their file
IMAGES_FOLDER = "images"  # the folder in which many tools put images, beside one of what they made of them
ORIENTATION = 0x0112  # EXIF's tag; from 5 on, width and height change places


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers in names by their value: IMG_2 before IMG_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def images_by_stem(folder: Path, pattern: str = "*") -> dict[str, list[Path]]:
    """The images of one folder by their name without suffix, which several may share."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(pattern)):
        if is_image(path):
            found.setdefault(path.stem, []).append(path)
    return found


def is_image(path: Path) -> bool:
    """By its suffix; hidden files, such as those that macOS puts beside others, are no images."""
    return path.suffix.lower() in IMAGES and not path.name.startswith(".")


def image_size(path: Path) -> tuple[int, int] | None:
    """Width and height of an image file, turned as its EXIF orientation says; None for what is no image: that is said
    where images are decoded."""
    try:
        with open_image(path) as image:
            width, height = image.size
            exif = Image.Image.getexif(image)  # a PNG's own would decode the whole image
            return (height, width) if exif.get(ORIENTATION, 1) >= 5 else (width, height)
    except Exception:  # a damaged file fails in Pillow with errors of any type
        return None


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 that begins with a byte order mark. Raises UserError: neither."""
    refuse_special(path)
    content = path.read_bytes()
    try:
        return content.decode("utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"is not UTF-8 text (byte {error.start}): save it in UTF-8") from None


def annotation_files(root: Path, *suffixes: str) -> list[Path]:
    """Files with one of the suffixes in a folder and in its folder `annotations`."""
    folders = (root, root / ANNOTATIONS)
    files = [path for folder in folders for path in folder.glob("*") if path.is_file()]
    return sorted(path for path in files if path.suffix.lower() in suffixes)


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
        self._beside: dict[tuple[Path, str], list[str]] = {}
        for name, path in self.paths.items():
            self._beside.setdefault((path.parent, path.stem), []).append(name)
        self._indices = {key: self._index(key) for key in KEYS}

    def _index(self, key: Key) -> dict[str, list[str]]:
        """Paths by a form of their file names, with the suffix and, as frames of videos are written, without."""
        found: dict[str, list[str]] = {}
        for name, path in self.paths.items():
            for written in {key(path.name), key(path.stem)}:
                found.setdefault(written, []).append(name)
        return found

    def find(self, written: str, near: Sequence[str] = ()) -> str:
        """The path, seen from the root, of the image that an annotation calls so.

        Of several files of that name it is the one that lies so in one of the folders `near` (seen from the root), then
        the one whose path ends most like the written one, or else the only one in such a folder or in `images`. Only
        where no file is called exactly so, the case of letters, the way in which accents are written, and what servers
        change in the names of uploaded files do not matter. Raises UserError: no image, or several, of that name."""
        name = _plain(written)
        for place in (*(f"{folder}/{name}" for folder in near), name):
            if place in self.paths:
                return place
        for key, index in self._indices.items():
            same = index.get(key(PurePosixPath(name).name), [])
            if same:
                return self._best(written, [key(part) for part in PurePosixPath(name).parts], same, key, near)
        close = self._indices[_uploaded].get(_uploaded(PurePosixPath(name).stem), [])
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UserError(f"there is no image {written!r} in {self.root}{hint}")

    def _best(self, written: str, parts: list[str], same: list[str], key: Key, near: Sequence[str]) -> str:
        """The only one of several paths that ends most like `parts`, or that lies near."""
        alike = {path: _common_end(parts[:-1], [key(part) for part in PurePosixPath(path).parts[:-1]]) for path in same}
        best = [path for path in same if alike[path] == max(alike.values())]
        for folder in (*near, IMAGES_FOLDER):
            inside = [path for path in best if PurePosixPath(folder) in PurePosixPath(path).parents]
            if len(best) > 1 and len(inside) == 1:
                best = inside
        if len(best) > 1:
            raise UserError(f"{written!r} may be {' or '.join(same)}: write its path from {self.root}")
        return best[0]

    def beside(self, file: Path) -> list[str]:
        """The images, by their paths from the root, in the folder of a file that have its name but for the suffix."""
        return self._beside.get((file.parent, file.stem), [])

    def has(self, written: str) -> bool:
        """Whether an annotation that names an image so means one of these, or several."""
        base = PurePosixPath(_plain(written)).name
        return any(key(base) in index for key, index in self._indices.items())


def _plain(written: str) -> str:
    """A path with forward slashes; of an address, its path without what was added for the server."""
    if "://" in written:
        try:
            return unquote(urlsplit(written).path).removeprefix("/")
        except ValueError:
            return written
    return written.replace("\\", "/").removeprefix("./")


def _same(name: str) -> str:
    return name


def _normal(name: str) -> str:
    """Without differences of case or of how accents are written."""
    return unicodedata.normalize("NFC", name).casefold()


def _uploaded(name: str) -> str:
    """What Django, and so Label Studio and CVAT's server, make of the name of an uploaded file."""
    return re.sub(r"[^-\w.]", "", _normal(name).strip().replace(" ", "_"))


def _common_end(one: list[str], other: list[str]) -> int:
    """How many last elements two lists share."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((number for number, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


KEYS: tuple[Key, ...] = (_same, _normal, _uploaded)  # forms in which names are compared, the strictest first
