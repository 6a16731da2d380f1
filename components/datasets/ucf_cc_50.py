"""UCF_CC_50 (Idrees et al., "Multi-source Multi-scale Counting in Extremely Dense Crowd Images", CVPR 2013): fifty grey
images, `N.jpg` with `N_ann.mat`, `annPoints` (N, 2).

It is published without halves: results are means over five folds of ten images, each the test split once. Which images
form a fold was never published; here fold 1 is images 1 to 10, fold 2 images 11 to 20, and so on. A study has one entry
for each fold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from components.config.options import Options
from components.crowd import Problem, RawSample
from components.datasets.shared.files import images_by_stem
from components.datasets.shared.mat import mat_dots
from components.datasets.shared.pairs import Pair, Pairs, pair_up

FOLDS, FOLD = 5, 10  # how many folds, and images in each
NAMES = {str(number) for number in range(1, FOLDS * FOLD + 1)}
END = "_ann.mat"
LAYOUT = f"1.jpg with 1{END} and so on to 50"
FROM = "the Center for Research in Computer Vision, University of Central Florida (Idrees et al., CVPR 2013)"

SPLITS = "Its folds are ours: which images form a fold was never published."


class Params(Options):
    """Where the data set lies, seen from the project's root."""

    root: Path = Field(description="the folder that holds the fifty images")
    fold: int = Field(ge=1, le=FOLDS, description="the fold that is the test half")


class UcfCc50(Pairs):
    """`others` are images and files of dots whose names are not those of the data set."""

    def __init__(self, pairs: list[Pair], others: list[Path], where: str) -> None:
        super().__init__(pairs, read_dots, where, LAYOUT)
        self.others = others

    def samples(self, problems: list[Problem]) -> Iterator[RawSample]:
        for path in self.others:
            what = f"its name is not one of 1 to {FOLDS * FOLD}, so it is in no fold"
            problems.append(Problem(str(path), what, "left out", "image-unlisted"))
        yield from super().samples(problems)


def build(params: Params) -> UcfCc50:
    truths = {path.name.removesuffix(END): path for path in params.root.glob(f"*{END}")}
    images = images_by_stem(params.root)
    every = pair_up(images, truths)
    pairs = [pair._replace(split=_split(int(pair.id), params.fold)) for pair in every if pair.id in NAMES]
    others = [path for pair in every if pair.id not in NAMES for path in (pair.image, *pair.rivals, pair.truth) if path]
    return UcfCc50(pairs, others, str(params.root))


def recognise(root: Path) -> list[dict[str, Any]]:
    return [{"fold": 1}] if any(path.name[0].isdecimal() for path in root.glob(f"*{END}")) else []


def read_dots(path: Path, problems: list[Problem]) -> np.ndarray:
    """Dots (N, 2) float64 of one `.mat`. Raises UserError."""
    return mat_dots(path, "annPoints")


def _split(number: int, fold: int) -> str:
    return "test" if (number - 1) // FOLD + 1 == fold else "train"
