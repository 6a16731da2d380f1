"""Random changes to training images: their size, with the dots and maps to match, and the look of their pixels.

Each is drawn from the generator of its sample, which follows from seed, epoch and position: so it is the same for every
method, after a resume, and for any number of workers. The pixels are changed by Pillow."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, ImageEnhance

from components.config.study import Augmentation
from components.data.manifest import Row

LOOKS = {"brightness": ImageEnhance.Brightness, "contrast": ImageEnhance.Contrast, "saturation": ImageEnhance.Color}
JPEG_QUALITY = (30, 90)


def random_scale(options: Augmentation, random: np.random.Generator) -> float:
    """A factor in the range `scale`, uniform in its logarithm: halving is as likely as doubling."""
    low, high = (math.log(each) for each in options.scale)
    return math.exp(low + (high - low) * random.random())


def resize(row: Row, image: np.ndarray, scale: float) -> tuple[Row, np.ndarray]:
    """An image (H, W, 3) uint8 times `scale` in both directions, to whole pixels; its dots and perspective with it."""
    height, width = (max(1, round(scale * side)) for side in (row.height, row.width))
    resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    dots = row.dots * (width / row.width, height / row.height)
    perspective = (
        None if row.perspective is None else row.perspective * math.sqrt((width / row.width) * (height / row.height))
    )
    return row._replace(height=height, width=width, dots=dots, perspective=perspective), resized


def change_look(pixels: np.ndarray, options: Augmentation, random: np.random.Generator) -> np.ndarray:
    """Pixels (H, W, 3) uint8 with another brightness, contrast and saturation, perhaps grey, perhaps with the noise of
    JPEG. All numbers are drawn whatever the options are, so that one option leaves the others' as they were."""
    factors, grey, jpeg, quality = 2 * random.random(len(LOOKS)) - 1, *random.random(2), random.integers(*JPEG_QUALITY)
    image = Image.fromarray(pixels)
    for (name, enhance), factor in zip(LOOKS.items(), factors, strict=True):
        if width := getattr(options, name):
            image = enhance(image).enhance(1 + width * factor)
    if grey < options.grey:
        image = image.convert("L").convert("RGB")
    if jpeg < options.jpeg:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(quality))
        image = Image.open(file).convert("RGB")
    return np.asarray(image)
