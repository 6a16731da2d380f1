"""ShanghaiTech A and B (Zhang et al., "Single-Image Crowd Counting via Multi-Column CNN", CVPR 2016).

Copies differ in their spelling: `part_A` or `part_A_final`, `ground-truth` or `ground_truth`. The
training half is `train_data/images/IMG_n.jpg` with `train_data/ground-truth/GT_IMG_n.mat`, the test half likewise in
`test_data`; either may be absent.
In a `.mat`, `image_info[0,0][0,0]` holds `location` (N, 2: x, y) and `number`. The files come from strangers:
whatever is in them, reading one gives dots or a ValueError."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.io import loadmat

from components.crowd import Problem, RawSample
from components.params import Options

HALVES = {"train": "train_data", "test": "test_data"}
TRUTHS = ("ground-truth", "ground_truth")
IMAGES = {".jpg", ".jpeg", ".png"}


class Params(Options):
    """Where the data set lies, seen from the project's root: the folder that holds `part_A`, or the part itself."""

    root: Path
    part: Literal["A", "B"]


class ShanghaiTech:
    """Raises ValueError when there is no folder of the part, or no image in it."""

    def __init__(self, params: Params) -> None:
        self.pairs = [pair for split, half in _halves(params).items() for pair in _pairs(split, half)]
        if not any(image and truth for _, _, image, truth in self.pairs):
            raise ValueError(
                f"{params.root}: part {params.part} has no image with its dots: looked for "
                "{train_data,test_data}/images/IMG_*.jpg with {ground-truth,ground_truth}/GT_IMG_*.mat"
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def samples(self, problems: list[Problem]) -> Iterator[RawSample]:
        """Images by half and number. An image without a readable `.mat` is left out, and so is a lone `.mat`."""
        for split, name, image, truth in self.pairs:
            if image is None or truth is None:
                problems.append(_lone(image, truth))
                continue
            try:
                dots = read_dots(truth, problems)
            except ValueError as error:
                problems.append(Problem(str(truth), str(error), "the image is left out"))
            else:
                yield RawSample(f"{split}-{name}", image, dots, split)


def build(params: Params) -> ShanghaiTech:
    return ShanghaiTech(params)


def read_dots(path: Path, problems: list[Problem]) -> np.ndarray:
    """Dots (N, 2) float64 of one `.mat`; a `number` that differs is added to `problems`. Raises ValueError."""
    try:
        record = loadmat(path, variable_names=["image_info"])["image_info"][0, 0][0, 0]
        dots, number = record["location"].astype(np.float64), int(record["number"].item())
    except Exception as error:  # a damaged file fails in scipy with errors of any type
        raise ValueError(f"not a readable ShanghaiTech .mat ({type(error).__name__})") from None
    if dots.size and (dots.ndim != 2 or dots.shape[1] != 2):
        raise ValueError(f"location has shape {dots.shape}, not (N, 2)")
    if number != len(dots.reshape(-1, 2)):
        problems.append(Problem(str(path), f"says {number} people, has {dots.size // 2} dots", "the dots count"))
    return dots.reshape(-1, 2)


def _halves(params: Params) -> dict[str, Path]:
    """The halves that exist, by split. Raises ValueError when there are none."""
    spellings = [params.root / f"part_{params.part}", params.root / f"part_{params.part}_final", params.root]
    for part in spellings:
        found = {split: part / name for split, name in HALVES.items() if (part / name).is_dir()}
        if found:
            return found
    looked = ", ".join(str(part) for part in spellings)
    raise ValueError(f"no train_data or test_data in {looked}: download ShanghaiTech and set `root` to its folder")


def _pairs(split: str, half: Path) -> list[tuple[str, str, Path | None, Path | None]]:
    """(split, name, image, .mat) for everything in a half, by number; one of the files is None where it is missing."""
    images = {path.stem: path for path in (half / "images").glob("IMG_*") if path.suffix.lower() in IMAGES}
    truths = {path.stem.removeprefix("GT_"): path for name in TRUTHS for path in (half / name).glob("GT_IMG_*.mat")}
    return [(split, name, images.get(name), truths.get(name)) for name in sorted(images | truths, key=_number)]


def _number(name: str) -> tuple[int, str]:
    digits = name.removeprefix("IMG_")
    return (int(digits) if digits.isdecimal() else 0, name)


def _lone(image: Path | None, truth: Path | None) -> Problem:
    if image is not None:
        return Problem(str(image), "has no .mat with its dots", "left out")
    return Problem(str(truth), "has no image", "left out")
