"""UCF-QNRF (Idrees et al., "Composition Loss for Counting, Density Map Estimation and Localization in Dense Crowds",
ECCV 2018): 1201 training and 334 test images, `{Train,Test}/img_NNNN.jpg` with `img_NNNN_ann.mat`, `annPoints` (N, 2).

Images are up to 6666 x 9999 px, below Pillow's bound; papers scale them down, which `longest_side` of a study does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from components.config.options import Options
from components.crowd import Problem
from components.datasets.shared.files import images_by_stem
from components.datasets.shared.mat import mat_dots
from components.datasets.shared.pairs import Pair, Pairs, pair_up

HALVES = {"train": "Train", "test": "Test"}
END = "_ann.mat"
LAYOUT = f"{{Train,Test}}/img_*.jpg with img_*{END}"
FROM = "the Center for Research in Computer Vision, University of Central Florida (Idrees et al., ECCV 2018)"


class Params(Options):
    """Where the data set lies, seen from the project's root."""

    root: Path = Field(description="the folder that holds `Train` and `Test`")


def build(params: Params) -> Pairs:
    pairs = [pair for split, half in HALVES.items() for pair in annotated(params.root / half, split)]
    return Pairs(pairs, read_dots, str(params.root), LAYOUT)


def recognise(root: Path) -> list[dict[str, Any]]:
    return [{}] if any(any((root / half).glob(f"img_*{END}")) for half in HALVES.values()) else []


def annotated(folder: Path, split: str) -> list[Pair]:
    truths = {path.name.removesuffix(END): path for path in folder.glob(f"img_*{END}")}
    return pair_up(images_by_stem(folder, "img_*"), truths, split)


def read_dots(path: Path, problems: list[Problem]) -> np.ndarray:
    """Dots (N, 2) float64 of one `.mat`. Raises UserError."""
    return mat_dots(path, "annPoints")
