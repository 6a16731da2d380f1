"""One raw sample made ready: decoded, upright, RGB, scaled, its dots checked. Raw files are untrusted."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from components.crowd import Dataset, Problem, RawSample
from components.errors import UserError


@dataclass(frozen=True)
class Ready:
    """A prepared image (H, W, 3) uint8 and its dots (N, 2) in prepared pixels."""

    id: str
    half: str | None  # "train", "val" or "test" where the data set is published so divided
    pixels: np.ndarray
    dots: np.ndarray
    scale: float  # prepared pixels per raw pixel
    sha256: str
    scene: str
    perspective: np.ndarray | None  # (N,): prepared pixels per metre at each dot
    region: np.ndarray | None  # (H, W) uint8: of each prepared pixel, the share within the region, of 255


def read(dataset: Dataset, longest_side: int | None, problems: list[Problem]) -> Iterator[Ready]:
    """Every usable image of a data set, one at a time; what is wrong with the others is added to `problems`."""
    for sample in dataset.samples(problems):
        try:
            image, sha256 = decode(sample)
            region = of_size(sample.roi, image.size, "region of interest")
            if region is not None and not region.any():
                raise UserError("its region of interest is empty")
            perspective = of_size(sample.perspective, image.size, "perspective map")
        except UserError as error:
            problems.append(Problem(name(sample), str(error), "the image is left out"))
            continue
        inside = clean(sample.dots, image.size, name(sample), problems)
        dots = inside if region is None else within(inside, region, name(sample), problems)
        small, scale = shrink(image, longest_side)
        stretch = np.array(small.size) / image.size
        yield Ready(
            id=sample.id,
            half=sample.split,
            pixels=np.asarray(small),
            dots=dots * stretch,
            scale=scale,
            sha256=sha256,
            scene=sample.scene,
            perspective=None if perspective is None else scale * at_dots(perspective, dots, name(sample), problems),
            region=None if region is None else shares(region, small.size),
        )


def name(sample: RawSample) -> str:
    """What to call a sample in the report: its file, or the id of a made image."""
    return str(sample.image) if isinstance(sample.image, Path) else sample.id


def decode(sample: RawSample) -> tuple[Image.Image, str]:
    """The RGB image, turned as its EXIF orientation says, and the SHA-256 of the raw bytes.

    Raises UserError: what cannot be decoded, has 32 bits a pixel, or is larger than Pillow's bound on pixels (a
    decompression bomb)."""
    if not isinstance(sample.image, Path):
        pixels = np.asarray(sample.image)
        return Image.fromarray(pixels), hashlib.sha256(pixels.tobytes()).hexdigest()
    try:
        as_error = warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning)
        with as_error, Image.open(sample.image) as image:
            upright = ImageOps.exif_transpose(image)
    except Exception as error:  # a damaged file fails in Pillow's decoders with errors of any type
        raise UserError(f"cannot be decoded ({type(error).__name__})") from None
    return _eight_bits(upright).convert("RGB"), hashlib.sha256(sample.image.read_bytes()).hexdigest()


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey image of 16 bits as one of 8: converted as it stands, all above 255 of 65,535 would be white.

    Raises UserError for one of 32 bits, whose greys may be 0 to 1, to 65,535 or to anything."""
    if image.mode in ("I", "F"):
        raise UserError(f"has 32 bits a pixel in mode {image.mode}, of which white is unknown; save it with 8")
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def clean(dots: np.ndarray, size: tuple[int, int], file: str, problems: list[Problem]) -> np.ndarray:
    """Dots (N, 2) without those that are not numbers or lie outside; an image of width W spans x = 0 to W inclusive.

    Coinciding dots stay: they are people who share a pixel."""
    finite = np.isfinite(dots).all(axis=1)
    inside = finite & (dots >= 0).all(axis=1) & (dots <= size).all(axis=1)
    kept = dots[inside]
    shared = len(kept) - len(np.unique(kept, axis=0))
    for number, what, action in (
        ((~finite).sum(), "whose place is not a number", "dropped"),
        ((finite & ~inside).sum(), f"outside the image of {size[0]} x {size[1]} px", "dropped"),
        (shared, "in the same place as another", "kept: they are people too"),
    ):
        if number:
            problems.append(Problem(file, f"{number} {'dot' if number == 1 else 'dots'} {what}", action))
    return kept


def of_size(values: np.ndarray | None, size: tuple[int, int], what: str) -> np.ndarray | None:
    """What the data set says of every pixel (H, W), if it does. Raises UserError: it is not of the image's size."""
    if values is not None and values.shape != size[::-1]:
        height, width = values.shape
        raise UserError(f"its {what} is {width} x {height} px, the image {size[0]} x {size[1]} px")
    return values


def within(dots: np.ndarray, region: np.ndarray, file: str, problems: list[Problem]) -> np.ndarray:
    """Dots (N, 2), all inside the image, without those in pixels outside the region of interest (H, W)."""
    kept = dots[_under(region, dots)]
    lost = len(dots) - len(kept)
    if lost:
        problems.append(
            Problem(file, f"{lost} {'dot' if lost == 1 else 'dots'} outside the region of interest", "dropped")
        )
    return kept


def at_dots(perspective: np.ndarray, dots: np.ndarray, file: str, problems: list[Problem]) -> np.ndarray:
    """What the perspective map (H, W) says at the dots (N, 2): (N,), and 0 where it says nothing that is above 0."""
    values = np.nan_to_num(_under(perspective, dots), posinf=0.0)
    unknown = int((values <= 0).sum())
    if unknown:
        what = f"the perspective map says nothing at {unknown} {'dot' if unknown == 1 else 'dots'}"
        problems.append(Problem(file, what, "drawn as small as the smallest"))
    return np.maximum(values, 0.0)


def _under(values: np.ndarray, dots: np.ndarray) -> np.ndarray:
    """The pixels (H, W) in which the dots (N, 2) lie: (N,); a dot on the far edge belongs to the last one."""
    height, width = values.shape
    columns, rows = np.minimum(dots.astype(int), (width - 1, height - 1)).T
    return values[rows, columns]


def shares(region: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Of each pixel of the prepared image of `size` (width, height) the share in the region (H, W), of 255; uint8.

    A pixel that has anything of the region keeps a share, so that no dot inside stands where nothing counts."""
    mask = Image.fromarray(region.astype(np.float32)).resize(size, Image.Resampling.BOX)
    return np.ceil(255 * np.asarray(mask)).clip(0, 255).astype(np.uint8)


def shrink(image: Image.Image, longest_side: int | None) -> tuple[Image.Image, float]:
    """The image with no side above `longest_side`, and the scale; a smaller image is not enlarged."""
    scale = min(1.0, longest_side / max(image.size)) if longest_side else 1.0
    if scale == 1.0:
        return image, scale
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS), scale
