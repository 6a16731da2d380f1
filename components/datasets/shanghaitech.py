"""ShanghaiTech A and B (Zhang et al., "Single-Image Crowd Counting via Multi-Column CNN", CVPR 2016).

Copies differ in their spelling: `part_A` or `part_A_final`, `ground-truth` or `ground_truth`. The
training half is `train_data/images/IMG_n.jpg` with `train_data/ground-truth/GT_IMG_n.mat`, the test half likewise in
`test_data`; either may be absent. With `part: both` the two parts are one data set: its images are named
`A-train-IMG_1`, and the parts are its scenes.
In a `.mat`, `image_info[0,0][0,0]` holds `location` (N, 2: x, y) and `number`. The files come from strangers:
whatever is in them, reading one gives dots or a UserError. Those that Python wrote may lack the nesting."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from components.config.options import Options
from components.crowd import Problem
from components.datasets.shared.files import images_by_stem
from components.datasets.shared.mat import OTHER_STRUCTURE, as_dots, as_number, load_mat, variables
from components.datasets.shared.pairs import Pair, Pairs, pair_up
from components.errors import UserError

HALVES = {"train": "train_data", "test": "test_data"}
TRUTHS = ("ground-truth", "ground_truth")
LAYOUT = "{train_data,test_data}/images/IMG_*.jpg with {ground-truth,ground_truth}/GT_IMG_*.mat"
FROM = 'the authors of "Single-Image Crowd Counting via Multi-Column CNN" (Zhang et al., CVPR 2016)'


class Params(Options):
    """Where the data set lies, seen from the project's root."""

    root: Path = Field(description="the folder that holds `part_A` and `part_B`, or that of one part itself")
    part: Literal["A", "B", "both"] = Field(description="both: one data set, whose scenes are the parts")
    halves: tuple[Literal["train", "test"], ...] = Field(("train", "test"), min_length=1, description="which to read")


def build(params: Params) -> Pairs:
    """Raises UserError when there is no folder of a part, or no image in it."""
    if params.part == "both":
        pairs = [pair._replace(id=f"{part}-{pair.id}", scene=part) for part in "AB" for pair in _pairs(params, part)]
    else:
        pairs = _pairs(params, params.part)
    return Pairs(pairs, read_dots, f"{params.root}: part {params.part}", LAYOUT)


def recognise(root: Path) -> list[dict[str, Any]]:
    """The parts that lie in a folder; of a part itself, the one that its name says, or else A."""
    parts = [part for part in ("A", "B") if any((root / f"part_{part}{end}").is_dir() for end in ("", "_final"))]
    if not parts and any((root / half / "images").is_dir() for half in HALVES.values()):
        parts = ["B" if root.name.startswith("part_B") else "A"]
    return [{"part": part} for part in parts]


def read_dots(path: Path, problems: list[Problem]) -> np.ndarray:
    """Dots (N, 2) float64 of one `.mat`; a `number` that differs is added to `problems`. Raises UserError."""
    location, said = _record(path)
    dots = as_dots(location, "location")
    number = len(dots) if said is None else as_number(said, "number")
    if number != len(dots):
        problems.append(
            Problem(str(path), f"says {number} people, has {len(dots)} dots", "the dots count", "count-differs")
        )
    return dots


def _record(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """`location` and, where there is one, `number`: the authors nest them; scripts write a plain struct, or `location`
    alone. Raises UserError."""
    names = variables(path)
    if "image_info" not in names and "location" in names:
        held = load_mat(path, *({"location", "number"} & names))
        return held["location"], held.get("number")
    content: Any = load_mat(path, "image_info")["image_info"]
    try:
        while content.dtype == object:
            content = content.item()
        record = content.item() if content.shape else content
        fields = dict(zip(content.dtype.names or (), record, strict=True))
        return fields["location"], fields.get("number")
    except OTHER_STRUCTURE as error:
        raise UserError(
            f"not a ShanghaiTech .mat ({type(error).__name__}): wanted is a struct image_info with location (N, 2) and "
            "number"
        ) from None


def _pairs(params: Params, part: str) -> list[Pair]:
    pairs = []
    for split, half in _halves(params, part).items():
        images = images_by_stem(half / "images")
        truths = {path.stem.removeprefix("GT_"): path for name in TRUTHS for path in (half / name).glob("GT_*.mat")}
        pairs += pair_up(images, truths, split)
    return pairs


def _halves(params: Params, part: str) -> dict[str, Path]:
    """The halves of a part that exist, by split. Raises UserError when there are none."""
    spellings = [params.root / f"part_{part}", params.root / f"part_{part}_final"]
    if params.part != "both":
        spellings.append(params.root)
    for folder in spellings:
        found: dict[str, Path] = {
            split: folder / HALVES[split] for split in params.halves if (folder / HALVES[split]).is_dir()
        }
        if found:
            return found
    looked = ", ".join(str(folder) for folder in spellings)
    names = " or ".join(HALVES[split] for split in params.halves)
    raise UserError(f"no {names} in {looked}: download ShanghaiTech and set `root` to its folder")
