"""An untrained counter, which counts something all the same, and pictures of many kinds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.runs.predictor import Predictor, load_predictor
from tests.runs.test_predictor import saved


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose counter scales pictures to 64 px."""
    return saved(tmp_path_factory.mktemp("run"), longest_side=64).folder


@pytest.fixture
def predictor(run: Path) -> Predictor:
    return load_predictor(run)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures of different sizes, one of them in a folder below, and a file that is none."""
    random = np.random.default_rng(0)
    for name, size in {"b.png": (48, 64, 3), "a.jpg": (90, 60, 3), "cam/c.png": (100, 130, 3)}.items():
        file = tmp_path / "pictures" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, size, dtype=np.uint8)).save(file)
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    return tmp_path / "pictures"
