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
FIGURE_QUALITY = 88  # of figures, whose letters need more


class Embedded(NamedTuple):
    """An address that holds the picture, and its size in pixels."""

    url: str
    width: int
    height: int


def figure(file: Path) -> Embedded:
    """A PNG of a figure, with the same number of pixels."""
    with Image.open(file) as image:
        return _webp(image.convert("RGB"), quality=FIGURE_QUALITY)


def photograph(pixels: np.ndarray) -> Embedded:
    """(H, W, 3) uint8, scaled down to `LONGEST`."""
    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    return _webp(image, quality=QUALITY)


def density(pixels: np.ndarray) -> Embedded:
    """The colours (h, w, 3) uint8 of a map's cells, exactly."""
    return _webp(Image.fromarray(pixels), lossless=True)


def _webp(image: Image.Image, **options: object) -> Embedded:
    file = io.BytesIO()
    image.save(file, "WEBP", **options)
    return Embedded("data:image/webp;base64," + base64.b64encode(file.getvalue()).decode(), *image.size)
