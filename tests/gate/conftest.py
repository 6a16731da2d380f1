"""Counters whose counts are known, and held-out pictures with as many people as wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from components.gate.policy import Policy
from components.runs.folder import read_weights, write_weights
from tests.runs.test_predictor import saved

HEIGHT, WIDTH, CELLS = 48, 64, 12 * 16
Constant = Callable[[float], Path]


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("untrained"), final_relu=False).best


@pytest.fixture
def constant(untrained: Path, tmp_path: Path) -> Constant:
    """Writes a counter that sees so many people in every picture of 48 x 64 px, whatever it shows."""

    def write(people: float) -> Path:
        weights = read_weights(untrained)
        tensors = dict(weights.tensors)
        tensors["counter.fuse.weight"] = torch.zeros_like(tensors["counter.fuse.weight"])
        per_cell = people / CELLS * weights.metadata["scale"]
        tensors["counter.fuse.bias"] = torch.full_like(tensors["counter.fuse.bias"], per_cell)
        file = tmp_path / f"sees-{people}.safetensors"
        write_weights(file, tensors, weights.metadata)
        return file

    return write


def photograph(root: Path, cameras: Mapping[str, Sequence[int]], seed: int = 0) -> Path:
    """A folder with dots.csv: of each camera a picture for each number of people. Ids are as "north/3.png"."""
    random, lines = np.random.default_rng(seed), ["image,x,y"]
    for camera, numbers in cameras.items():
        (root / camera).mkdir(parents=True, exist_ok=True)
        for number, people in enumerate(numbers):
            name = f"{camera}/{number}.png"
            blocks = random.integers(0, 255, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(blocks).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(root / name)
            places = random.random((people, 2)) * (WIDTH, HEIGHT)
            lines += [f"{name},{x:.3f},{y:.3f}" for x, y in places] or [f"{name},,"]
    (root / "dots.csv").write_text("\n".join(lines) + "\n")
    return root


def policy(root: Path | None, **sections: dict) -> Policy:
    """A policy with these held-out pictures. A counter of constant density must not mind resized pictures; its training
    images are not asked for."""
    held_out = {
        "source": {"kind": "points", "root": str(root), "annotations": f"{root}/dots.csv"},
        "camera": "^([^/]+)/",
    }
    defaults: dict[str, dict] = {
        "sanity": {"resize": 0.5, "images": 1},
        "leaks": {"required": False},
        "costs": {"latency": 100, "repeats": 1},
    }
    given = {key: defaults.get(key, {}) | sections.get(key, {}) for key in {**defaults, **sections}}
    if root is not None:
        given["held_out"] = held_out | sections.get("held_out", {})
    return Policy.model_validate(given)
