"""Pictures as data URLs: WebP, so that a report of 500 images stays below five megabytes."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

LONGEST = 512  # pixels: the longer side of a photograph among the worst images
QUALITY = 75  # of photographs
PIXEL_RATIO = 1.4  # of figures: their 9 points at 150 pixels an inch become 13 CSS pixels
FIGURE_QUALITY = 88  # of figures, whose letters need more


class Embedded(NamedTuple):
    """An address that holds the picture, and the width and height at which it is shown, in CSS pixels."""

    url: str
    shown: tuple[int, int]


def figure(file: Path) -> Embedded:
    """A PNG of a figure, whose letters are as large as those of the text around it."""
    with Image.open(file) as image:
        shown = round(image.width / PIXEL_RATIO), round(image.height / PIXEL_RATIO)
        return Embedded(_webp(image.convert("RGB"), quality=FIGURE_QUALITY), shown)


def photograph(pixels: np.ndarray) -> Embedded:
    """(H, W, 3) uint8, scaled down to `LONGEST`."""
    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    return Embedded(_webp(image, quality=QUALITY), image.size)


def density(pixels: np.ndarray) -> Embedded:
    """The colours (h, w, 3) uint8 of a map's cells, exactly."""
    image = Image.fromarray(pixels)
    return Embedded(_webp(image, lossless=True), image.size)


def _webp(image: Image.Image, **options: object) -> str:
    file = io.BytesIO()
    image.save(file, "WEBP", **options)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
