"""JHU-Crowd++ (Sindagi et al., "JHU-CROWD++: Large-Scale Crowd Counting Dataset and A Benchmark Method", TPAMI 2020).

`{train,val,test}/images/NNNN.jpg` with `gt/NNNN.txt`: a line a head, `x y width height occlusion blur`. An empty file
is an image that shows nobody. All three splits are the published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from components.config.options import Options
from components.crowd import SPLITS, Problem
from components.datasets.shared.files import images_by_stem, read_text
from components.datasets.shared.mat import as_dots
from components.datasets.shared.pairs import Pair, Pairs, pair_up
from components.errors import UserError

NUMBERS = 6  # on every line
LAYOUT = "{train,val,test}/images/*.jpg with gt/*.txt"
FROM = "crowd-counting.com (Sindagi et al., TPAMI 2020)"


class Params(Options):
    """Where the data set lies, seen from the project's root."""

    root: Path = Field(description="the folder that holds `train`, `val` and `test`")


class Jhu(Pairs):
    truth = ".txt"


def build(params: Params) -> Jhu:
    pairs = [pair for split in SPLITS for pair in _pairs(params.root / split, split)]
    return Jhu(pairs, read_dots, str(params.root), LAYOUT)


def recognise(root: Path) -> list[dict[str, Any]]:
    return [{}] if any((root / split / "gt").is_dir() for split in SPLITS) else []


def read_dots(path: Path, problems: list[Problem]) -> np.ndarray:
    """Dots (N, 2) float64 of one file. Raises UserError: not text, or a line that is none, and which."""
    lines = read_text(path).splitlines()
    return as_dots([_dot(number, line) for number, line in enumerate(lines, 1)], "the file")


def _dot(number: int, line: str) -> tuple[float, float]:
    try:
        x, y, *_ = numbers = [float(word) for word in line.split()]
    except ValueError:
        numbers = []
    if len(numbers) != NUMBERS:
        raise UserError(f"line {number}: {line[:60]!r} is not x y width height occlusion blur: correct it")
    return x, y


def _pairs(folder: Path, split: str) -> list[Pair]:
    truths = {path.stem: path for path in (folder / "gt").glob("*.txt")}
    return pair_up(images_by_stem(folder / "images"), truths, split)
