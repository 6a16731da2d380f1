"""Images as counters see them: decoded, upright, RGB, scaled; and the dots of a raw sample moved along and checked.

Raw files are untrusted."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from components.crowd import Dataset, Problem, ProblemId, RawSample
from components.data.regions import resize_region
from components.errors import UserError

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""Of images that are read: of others Pillow has some that run programs (Ghostscript for EPS), or that nobody tests."""


@dataclass(frozen=True)
class PreparedImage:
    """A prepared image (H, W, 3) uint8 and its dots (N, 2) in prepared pixels."""

    id: str
    published_split: str | None  # "train", "val" or "test" where the data set is published so divided
    pixels: np.ndarray
    raw_pixels: np.ndarray  # (H, W, 3) uint8 RGB, upright, before the image was scaled
    dots: np.ndarray
    scale: float  # prepared pixels per raw pixel
    sha256: str
    scene: str
    perspective: np.ndarray | None  # (N,): prepared pixels per metre at each dot
    region: np.ndarray | None  # (H, W) uint8: the fraction of each prepared pixel inside the region, times 255


def preprocess(image: Path | np.ndarray, longest_side: int | None) -> np.ndarray:
    """An image as prepared data holds it, (H, W, 3) uint8 RGB: what a counter that was trained on such data reads.

    An array (H, W, 3) uint8 is only scaled. Raises UserError: see `read_image`, or the array is of another kind."""
    if isinstance(image, Path):
        return np.asarray(resize_to_longest_side(read_image(image), longest_side)[0])
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UserError(f"an array must be (H, W, 3) uint8, not {image.shape} {image.dtype}")
    if longest_side is None or max(image.shape[:2]) <= longest_side:
        return image
    return np.asarray(resize_to_longest_side(Image.fromarray(image), longest_side)[0])


def read_image(file: Path | BinaryIO, name: str | None = None) -> Image.Image:
    """An image file as RGB with 8 bits, turned as its EXIF orientation says; what is transparent becomes white.

    Errors call it by its path, or by `name`. Raises UserError: what cannot be decoded, has 32 bits a pixel, or is
    larger than Pillow's bound on pixels (a decompression bomb)."""
    path = name or file
    try:
        with open_image(file) as image:
            if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
                raise Image.DecompressionBombError
            upright = ImageOps.exif_transpose(image)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except Exception as error:  # a damaged file fails in Pillow's decoders with errors of any type
        raise UserError(f"{path}: cannot be decoded ({type(error).__name__})") from None
    if upright.mode in ("I", "F"):
        raise UserError(
            f"{path}: has 32 bits a pixel in mode {upright.mode}, of which white is unknown; save it with 8"
        )
    if upright.mode.startswith("I;16"):  # converted as it stands, all above 255 of 65,535 would be white
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    if upright.has_transparency_data:
        opaque = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque)
    return upright.convert("RGB")


def open_image(file: Path | BinaryIO) -> Image.Image:
    """An image file of one of the `FORMATS`, whatever it is called, of which only the header is read yet.

    Raises UserError: see `refuse_special`; a damaged file fails in Pillow with errors of any type."""
    if isinstance(file, Path):
        refuse_special(file)
    return Image.open(file, formats=FORMATS)


def refuse_special(path: Path) -> None:
    """Raises UserError: a device, a pipe or a socket, from which reading may never end."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError("is a device, a pipe or a socket, not a file")


def image_suffixes() -> set[str]:
    """How names of files of the `FORMATS` end, in small letters."""
    return {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}


def resize_to_longest_side(image: Image.Image, longest_side: int | None) -> tuple[Image.Image, float]:
    """The image with no side above `longest_side`, and the scale; a smaller image is not enlarged."""
    size, scale = scaled_size(image.size, longest_side)
    return (image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)), scale


def scaled_size(size: tuple[int, int], longest_side: int | None) -> tuple[tuple[int, int], float]:
    """The (width, height) of an image of `size` with no side above `longest_side`, and the scale, at most 1."""
    scale = min(1.0, longest_side / max(size)) if longest_side else 1.0
    return (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))), scale


def prepare_images(dataset: Dataset, longest_side: int | None, problems: list[Problem]) -> Iterator[PreparedImage]:
    """Every usable image of a data set, one at a time; what is wrong with the others is added to `problems`."""
    for sample in dataset.samples(problems):
        name = sample_name(sample)
        try:
            image, sha256 = decode_sample(sample)
            region = check_size(sample.roi, image.size, "region of interest")
            if region is not None and not region.any():
                raise UserError("its region of interest is empty")
            perspective = check_size(sample.perspective, image.size, "perspective map")
        except UserError as error:
            what = str(error).removeprefix(f"{name}: ")
            problems.append(Problem(name, what, "the image is left out", "image-unusable"))
            continue
        if unknown := int((~np.isfinite(sample.dots).all(axis=1)).sum()):
            what = f"{_dots(unknown)} whose place is not a number"
            problems.append(Problem(name, what, "the image is left out", "dots-invalid"))
            continue
        dots = keep_dots_inside(sample.dots, image.size, name, problems)
        if region is not None:
            dots = drop_dots_outside(region, dots, name, problems)
        small, scale = resize_to_longest_side(image, longest_side)
        raw_pixels = np.asarray(image)
        yield PreparedImage(
            id=sample.id,
            published_split=sample.split,
            pixels=raw_pixels if small is image else np.asarray(small),
            raw_pixels=raw_pixels,
            dots=dots * (np.array(small.size) / image.size),
            scale=scale,
            sha256=sha256,
            scene=sample.scene,
            perspective=None if perspective is None else scale * sample_perspective(perspective, dots, name, problems),
            region=None if region is None else resize_region(region, small.size),
        )


def sample_name(sample: RawSample) -> str:
    """What to call a sample in the report: its file, or the id of a made image."""
    return str(sample.image) if isinstance(sample.image, Path) else sample.id


def decode_sample(sample: RawSample) -> tuple[Image.Image, str]:
    """The RGB image of a sample, and the SHA-256 of its raw bytes. Raises UserError: see `read_image`."""
    if isinstance(sample.image, Path):
        return read_image(sample.image), hashlib.sha256(sample.image.read_bytes()).hexdigest()
    pixels = np.asarray(sample.image)
    return Image.fromarray(pixels), hashlib.sha256(pixels.tobytes()).hexdigest()


def keep_dots_inside(dots: np.ndarray, size: tuple[int, int], file: str, problems: list[Problem]) -> np.ndarray:
    """Dots (N, 2) without those outside the image, which shows nobody there; width W spans x = 0 to W inclusive.

    Coinciding dots stay: they are people who share a pixel."""
    inside = (dots >= 0).all(axis=1) & (dots <= size).all(axis=1)
    kept: np.ndarray = dots[inside]
    shared = len(kept) - len(np.unique(kept, axis=0))
    outside = f"outside the image of {size[0]} x {size[1]} px"
    found: tuple[tuple[int, str, str, ProblemId], ...] = (
        ((~inside).sum(), outside, "dropped", "dots-outside"),
        (shared, "in the same place as another", "kept: they are people too", "dots-coincide"),
    )
    problems += [Problem(file, f"{_dots(number)} {what}", action, id) for number, what, action, id in found if number]
    return kept


def check_size(values: np.ndarray | None, size: tuple[int, int], what: str) -> np.ndarray | None:
    """What the data set says of every pixel (H, W), if it does. Raises UserError: it is not of the image's size."""
    if values is not None and values.shape != size[::-1]:
        height, width = values.shape
        raise UserError(f"its {what} is {width} x {height} px, the image {size[0]} x {size[1]} px")
    return values


def drop_dots_outside(region: np.ndarray, dots: np.ndarray, file: str, problems: list[Problem]) -> np.ndarray:
    """Dots (N, 2), all inside the image, without those in pixels outside the region of interest (H, W)."""
    kept: np.ndarray = dots[_values_at(region, dots)]
    if lost := len(dots) - len(kept):
        problems.append(
            Problem(file, f"{_dots(lost)} outside the region of interest", "dropped", "dots-outside-region")
        )
    return kept


def sample_perspective(perspective: np.ndarray, dots: np.ndarray, file: str, problems: list[Problem]) -> np.ndarray:
    """The perspective map (H, W) at the dots (N, 2): (N,), and 0 where it has no value above 0."""
    values: np.ndarray = np.nan_to_num(_values_at(perspective, dots), posinf=0.0)
    if unknown := int((values <= 0).sum()):
        what = f"the perspective map says nothing at {_dots(unknown)}"
        problems.append(Problem(file, what, "drawn as small as the smallest", "perspective-unknown"))
    known: np.ndarray = np.maximum(values, 0.0)
    return known


def _values_at(values: np.ndarray, dots: np.ndarray) -> np.ndarray:
    """The pixels (H, W) in which the dots (N, 2) lie: (N,); a dot on the far edge belongs to the last one."""
    height, width = values.shape
    columns, rows = np.minimum(dots.astype(int), (width - 1, height - 1)).T
    found: np.ndarray = values[rows, columns]
    return found


def _dots(number: int) -> str:
    return f"{number} {'dot' if number == 1 else 'dots'}"
