"""What the cameras of the month see, night after night: made pictures, whose people are known.

Two cameras from the first night, a denser and blurred third one from night 12; all days get darker, to less than half
of the first one's light."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from components.datasets.synthetic import Params, scene

NIGHTS = 30
WIDTH, HEIGHT = 128, 96
PEOPLE = {"cam1": (3, 30), "cam2": (10, 60), "cam3": (30, 110)}  # at least and at most in a picture
NEW, FROM = "cam3", 12  # the camera that comes later, and its first night
BLUR = 0.7  # pixels: its lens is out of focus
DARKEST = 0.4  # of the first day's light, on the last one
MISSING = 0.6  # share of the people that a careless labeller leaves out
CARELESS = {9: 13, 10: 13, 22: 25}  # nights whose labels are bad: the night on which they come again, corrected

Picture = tuple[np.ndarray, np.ndarray]  # (H, W, 3) uint8, and its people's heads (N, 2) in pixels


def cameras(night: int) -> list[str]:
    return [name for name in PEOPLE if name != NEW or night >= FROM]


def take_picture(camera: str, night: int, use: str, number: int) -> Picture:
    """One picture. `use` sets apart what is trained on, held out, and audited: they never share a scene."""
    low, high = PEOPLE[camera]
    seed = zlib.crc32(f"{camera} {use}".encode())
    pixels, dots = scene(Params(images=1, width=WIDTH, height=HEIGHT, low=low, high=high, seed=seed), number)
    image = Image.fromarray(pixels)
    if camera == NEW:
        image = image.filter(ImageFilter.GaussianBlur(BLUR))
    light = 1 - (1 - DARKEST) * (night - 1) / (NIGHTS - 1)
    return np.rint(np.asarray(image) * light).astype(np.uint8), dots


def arrive(folder: Path, night: int, pictures: int) -> None:
    """Put a night's labelled pictures of each camera into a folder, as LabelMe writes them: bad labels on some nights,
    and the corrected ones of an earlier night."""
    for camera in cameras(night):
        for number in range(pictures):
            _write(folder, camera, night, number, MISSING if night in CARELESS else 0)
            for careless, corrected in CARELESS.items():
                if corrected == night and camera in cameras(careless):
                    _write(folder, camera, careless, number, 0)


def write_set(folder: Path, use: str, nights: Iterator[int] | range, pictures: int) -> None:
    """A data set with good labels: so many pictures of each camera, spread over these nights."""
    spread = [*nights]
    for camera in PEOPLE:
        for number in range(pictures):
            _write(folder, camera, spread[number * len(spread) // pictures], number, 0, use)


def audit(night: int, pictures: int) -> list[Picture]:
    """Pictures of this very night that nobody else ever sees."""
    numbers = range(night * 1000, night * 1000 + pictures)
    return [take_picture(camera, night, "audit", number) for camera in cameras(night) for number in numbers]


def _write(folder: Path, camera: str, night: int, number: int, missing: float, use: str = "train") -> None:
    pixels, dots = take_picture(camera, night, use, night * 1000 + number)
    kept = np.random.default_rng([night, number]).random(len(dots)) >= missing
    shapes = [{"label": "head", "shape_type": "point", "points": [dot]} for dot in dots[kept].round(2).tolist()]
    path = folder / camera / f"night-{night:02d}-{number:03d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    label = {"shapes": shapes, "imagePath": path.name, "imageWidth": WIDTH, "imageHeight": HEIGHT}
    contents = BytesIO()
    Image.fromarray(pixels).save(contents, "PNG")
    for file, written in ((path, contents.getvalue()), (path.with_suffix(".json"), json.dumps(label).encode())):
        if not file.exists() or file.read_bytes() != written:
            file.write_bytes(written)
