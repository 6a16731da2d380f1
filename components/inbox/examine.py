"""One item of an inbox, looked at as the prepare stage will: what it is, or why it is not taken.

Bounds on bytes and pixels hold before anything is decoded."""

from __future__ import annotations

import io
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from PIL import Image

from components.config import plugins
from components.config.retrain import Limits, Retrain
from components.crowd import Problem
from components.data.decode import PreparedImage, open_image, prepare_images
from components.data.duplicates import ImageSignature, image_signature
from components.datasets.shared.files import is_image
from components.datasets.shared.halves import Halves
from components.errors import UserError
from components.inbox.items import Item
from components.inbox.objects import Inbox, StoredObject
from components.inbox.raw_set import RawSet

SHARED = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names")  # files of a root that say what labels mean


class IncompleteError(Exception):
    """An item that is left for the next night, and why."""


class UnreachableError(IncompleteError):
    """An item that cannot be fetched."""


class Examined(NamedTuple):
    """An item that can be taken: the contents of its two files, and what the picture shows."""

    item: Item
    picture: bytes
    label: bytes
    sha256: str  # of the picture's file
    size: tuple[int, int]  # width and height in pixels, upright
    people: int
    camera: str
    signature: ImageSignature


def examine(item: Item, inbox: Inbox, raw: RawSet, settings: Retrain, now: float) -> Examined:
    """Fetch an item and read it with the project's own reader. Raises UserError (refused), IncompleteError (waits)."""
    for stored, most in zip(item, (settings.limits.picture_bytes, settings.limits.label_bytes), strict=True):
        if stored.size > most:
            raise UserError(f"{Path(stored.name).name} has {stored.size:,} bytes, more than {most:,}")
    picture, label = (_fetch(inbox, stored) for stored in item)
    young = now - max(stored.changed for stored in item) < 3600 * settings.patience
    if young and not (picture and label):
        raise IncompleteError("is empty: the rest may still come")
    check_header(picture, settings.limits)
    if is_image(Path(item.label.name)):
        check_header(label, settings.limits)
    try:
        image = _read(item, picture, label, raw)
    except UserError:
        if young and _is_cut_off(picture):
            raise IncompleteError("is cut off: the rest may still come") from None
        raise
    height, width = image.raw_pixels.shape[:2]
    camera = camera_of(item.name, settings.camera)
    signature = image_signature(image.raw_pixels)
    return Examined(item, picture, label, image.sha256, (width, height), len(image.dots), camera, signature)


def camera_of(name: str, pattern: str) -> str:
    """The camera in an object's name; empty where the pattern is not found in it."""
    found = re.search(pattern, name)
    return (found[1] or "") if found else ""


def check_header(contents: bytes, limits: Limits) -> None:
    """Raises UserError: not an image of an allowed format, or of a size that is not allowed. Reads the header alone."""
    try:
        with Image.open(io.BytesIO(contents), formats=limits.formats) as image:
            width, height = image.size
    except Exception as error:  # a poisoned file fails in Pillow's plug-ins with errors of any type
        formats = " or ".join(limits.formats)
        raise UserError(f"is not an image in the format {formats} ({type(error).__name__})") from None
    if width * height > limits.pixels or max(width, height) > limits.longest_side:
        raise UserError(f"says that it has {width} x {height} px: more than limits.pixels or limits.longest_side allow")
    if min(width, height) < limits.shortest_side:
        raise UserError(f"has {width} x {height} px: a side is shorter than {limits.shortest_side}")


def _fetch(inbox: Inbox, stored: StoredObject) -> bytes:
    try:
        return inbox.read(stored)
    except UserError as error:
        raise UnreachableError(str(error)) from None


def _read(item: Item, picture: bytes, label: bytes, raw: RawSet) -> PreparedImage:
    """The picture with its dots, read from a folder that holds nothing else. Raises UserError: anything is lost."""
    with TemporaryDirectory() as folder:
        root, problems = Path(folder), list[Problem]()
        for stored, contents in zip(item, (picture, label), strict=True):
            (root / stored.name).parent.mkdir(parents=True, exist_ok=True)
            (root / stored.name).write_bytes(contents)
        for name in SHARED:
            if (raw.root / name).is_file():
                (root / name).write_bytes((raw.root / name).read_bytes())
        options = raw.options.model_copy(update={"root": root, "halves": Halves()})
        dataset = plugins.build("dataset", raw.source.kind, options)
        if labels := getattr(dataset, "labels", None):
            labels.met |= labels.wanted  # a label that one picture lacks, others have
        images = [*prepare_images(dataset, None, problems)]
        if lost := [problem for problem in problems if problem.lost]:
            raise UserError(lost[0].what.replace(f"{root}/", ""))
        if len(images) != 1:
            raise UserError("its label says nothing of it")
        return images[0]


def _is_cut_off(contents: bytes) -> bool:
    """Whether an image file, whose header is within the limits, ends too early."""
    try:
        with open_image(io.BytesIO(contents)) as image:
            image.load()
    except Exception as error:
        return "truncated" in str(error)
    return False
