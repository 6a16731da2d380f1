"""Small made data sets for tests: prepared files on disk, exactly as the stages write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from components.config.resolve import Plan, read_plan
from components.data.manifest import SCHEMA
from components.data.packed import PackWriter
from components.density_maps.gaussian import draw
from components.runs.folder import FORMAT, save_run
from components.workspace.layout import RunPaths


def write(
    folder: Path, sizes: list[tuple[int, int]], splits: list[str], seed: int = 0, people: int | None = None
) -> tuple[Path, Path]:
    """Prepared images of bright squares on noise, a dot on each, and their fixed sigma 4 maps: (prepared, maps)."""
    random = np.random.default_rng(seed)
    prepared, maps, rows = folder / "prepared", folder / "maps", []
    with PackWriter(prepared / "images", np.uint8) as images, PackWriter(maps, np.float32) as drawn:
        for number, ((height, width), split) in enumerate(zip(sizes, splits, strict=True)):
            dots = random.random((people or int(random.integers(3, 20)), 2)) * (width, height)
            images.append(_image(random, height, width, dots))
            drawn.append(draw(torch.from_numpy(dots), 4.0, (height, width)).numpy())
            rows.append(_row(number, split, height, width, dots))
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), prepared / "manifest.parquet")
    return prepared, maps


def plan(
    density_map: dict | None = None, counter: dict | None = None, loss: dict | None = None, **training: object
) -> Plan:
    """A resolved plan for the made data."""
    values = {
        "study": "test",
        "experiment": "made",
        "dataset": "made",
        "preset": "stable",
        "counter": counter or {"kind": "mcnn"},
        "annotation": {"kind": "fixed"},
        "density_map": density_map or {"kind": "identity"},
        "loss": loss or {"kind": "squared_error"},
        "training": {"epochs": 3, "batch_size": 2} | training,
    }
    return read_plan(values, "test")


def save_weights(folder: Path, plan: Plan, weights: dict[str, Tensor], stride: int, scale: float) -> None:
    """Write a finished run with these weights of the joint model."""
    record = {"format": FORMAT, **plan.plain(), "seed": 7, "stride": stride, "scale": scale}
    best = {"epoch": 1, "val_mae": 0.0, "model": weights}
    save_run(RunPaths(folder), record, {"epoch": 1, "history": [], "best": best, "model": weights})


def _image(random: np.random.Generator, height: int, width: int, dots: np.ndarray) -> np.ndarray:
    image = random.integers(0, 60, (height, width, 3), dtype=np.uint8)
    for x, y in dots.astype(int):
        image[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = 230
    return image


def _row(number: int, split: str, height: int, width: int, dots: np.ndarray) -> dict:
    return {
        "id": f"image-{number:02d}",
        "split": split,
        "height": height,
        "width": width,
        "scale": 1.0,
        "x": dots[:, 0].tolist(),
        "y": dots[:, 1].tolist(),
        "group": number,
        "sha256": "",
    }
