"""Crowds that benchmarks train on, as prepared files: real ones where the data set is at hand, made ones elsewhere.

"typical" has images of 1024 x 768 px with as many dots as the median of ShanghaiTech B (training half: 99), "dense" the
images of part A with the most (up to 3138)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from components.crowd import RawSample
from components.data.manifest import SCHEMA
from components.data.packed import PackWriter
from components.datasets import shanghaitech
from components.density_maps.gaussian import draw

CROWDS = ("typical", "dense")
IMAGES = 5  # in one step of five a bilevel mixture looks ahead
SIZE = (768, 1024)
MADE = {"typical": 99, "dense": 1800}  # dots of an image


def write(folder: Path, crowd: str, root: Path) -> tuple[Path, Path]:
    """Prepared images, and their fixed sigma 4 maps: (prepared, maps). All train; the first validates too."""
    chosen = _real(crowd, root) if root.is_dir() else _made(crowd)
    prepared, maps, rows = folder / "prepared", folder / "maps", []
    with PackWriter(prepared / "images", np.uint8) as images, PackWriter(maps, np.float32) as drawn:
        for number, (image, dots) in enumerate([*chosen, chosen[0]]):
            images.append(image)
            drawn.append(draw(torch.from_numpy(dots), 4.0, image.shape[:2]).numpy())
            rows.append(_row(number, "val" if number == len(chosen) else "train", image, dots))
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), prepared / "manifest.parquet")
    return prepared, maps


def _real(crowd: str, root: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    part = {"typical": "B", "dense": "A"}[crowd]
    data = shanghaitech.build(shanghaitech.Params(root=root, part=part))
    found = [sample for sample in data.samples([]) if sample.split == "train"]
    counts = np.array([len(sample.dots) for sample in found])
    wanted = np.median(counts) if crowd == "typical" else counts.max()
    nearest = np.argsort(np.abs(counts - wanted), kind="stable")
    images = (_pixels(found[place]) for place in nearest)
    large = (
        (image, found[place].dots) for image, place in zip(images, nearest, strict=True) if image.shape[:2] == SIZE
    )
    return [next(large) for _ in range(IMAGES)]


def _pixels(sample: RawSample) -> np.ndarray:
    assert isinstance(sample.image, Path)
    with Image.open(sample.image) as file:
        return np.asarray(file.convert("RGB"))


def _made(crowd: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Noise, and dots in the lower two thirds, as where the ground is."""
    random, corner, spread = np.random.default_rng(0), np.array([0, 256]), np.array([1024, 512])
    images = random.integers(0, 256, (IMAGES, *SIZE, 3), dtype=np.uint8)
    return [(image, corner + spread * random.random((MADE[crowd], 2))) for image in images]


def _row(number: int, split: str, image: np.ndarray, dots: np.ndarray) -> dict:
    height, width = image.shape[:2]
    names = {"id": f"image-{number}", "split": split, "height": height, "width": width, "scale": 1.0}
    return names | {"x": dots[:, 0].tolist(), "y": dots[:, 1].tolist(), "group": number, "sha256": ""}
