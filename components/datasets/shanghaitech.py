"""ShanghaiTech A and B (Zhang et al., "Single-Image Crowd Counting via Multi-Column CNN", CVPR 2016).

Copies differ in their spelling: `part_A` or `part_A_final`, `ground-truth` or `ground_truth`. The
training half is `train_data/images/IMG_n.jpg` with `train_data/ground-truth/GT_IMG_n.mat`, the test half likewise in
`test_data`; either may be absent.
In a `.mat`, `image_info[0,0][0,0]` holds `location` (N, 2: x, y) and `number`. The files come from strangers:
whatever is in them, reading one gives dots or a UserError."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from components.config.options import Options
from components.crowd import Problem
from components.datasets.shared.files import images_by_stem
from components.datasets.shared.mat import OTHER_STRUCTURE, as_dots, as_number, load_mat
from components.datasets.shared.pairs import Pair, Pairs, pair_up
from components.errors import UserError

HALVES = {"train": "train_data", "test": "test_data"}
TRUTHS = ("ground-truth", "ground_truth")
LAYOUT = "{train_data,test_data}/images/IMG_*.jpg with {ground-truth,ground_truth}/GT_IMG_*.mat"
FROM = 'the authors of "Single-Image Crowd Counting via Multi-Column CNN" (Zhang et al., CVPR 2016)'


class Params(Options):
    """Where the data set lies, seen from the project's root: the folder that holds `part_A`, or the part itself."""

    root: Path
    part: Literal["A", "B"]
    halves: tuple[Literal["train", "test"], ...] = Field(("train", "test"), min_length=1, description="which to read")


def build(params: Params) -> Pairs:
    """Raises UserError when there is no folder of the part, or no image in it."""
    pairs = [pair for split, half in _halves(params).items() for pair in _pairs(split, half)]
    return Pairs(pairs, read_dots, f"{params.root}: part {params.part}", LAYOUT)


def recognise(root: Path) -> list[dict[str, Any]]:
    """The parts that lie in a folder; of a part itself, the one that its name says, or else A."""
    parts = [part for part in ("A", "B") if any((root / f"part_{part}{end}").is_dir() for end in ("", "_final"))]
    if not parts and any((root / half).is_dir() for half in HALVES.values()):
        parts = ["B" if root.name.startswith("part_B") else "A"]
    return [{"part": part} for part in parts]


def read_dots(path: Path, problems: list[Problem]) -> np.ndarray:
    """Dots (N, 2) float64 of one `.mat`; a `number` that differs is added to `problems`. Raises UserError."""
    content = load_mat(path, "image_info")["image_info"]
    try:
        record = content[0, 0][0, 0]
        location, said = record["location"], record["number"]
    except OTHER_STRUCTURE as error:
        raise UserError(f"not a ShanghaiTech .mat ({type(error).__name__})") from None
    dots, number = as_dots(location, "location"), as_number(said, "number")
    if number != len(dots):
        problems.append(Problem(str(path), f"says {number} people, has {len(dots)} dots", "the dots count"))
    return dots


def _halves(params: Params) -> dict[str, Path]:
    """The halves that exist, by split. Raises UserError when there are none."""
    spellings = [params.root / f"part_{params.part}", params.root / f"part_{params.part}_final", params.root]
    for part in spellings:
        found: dict[str, Path] = {
            split: part / HALVES[split] for split in params.halves if (part / HALVES[split]).is_dir()
        }
        if found:
            return found
    looked = ", ".join(str(part) for part in spellings)
    names = " or ".join(HALVES[split] for split in params.halves)
    raise UserError(f"no {names} in {looked}: download ShanghaiTech and set `root` to its folder")


def _pairs(split: str, half: Path) -> list[Pair]:
    images = images_by_stem(half / "images", "IMG_*")
    truths = {path.stem.removeprefix("GT_"): path for name in TRUTHS for path in (half / name).glob("GT_IMG_*.mat")}
    return pair_up(images, truths, split)
