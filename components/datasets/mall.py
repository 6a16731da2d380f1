"""Mall (Chen et al., "Feature Mining for Localised Crowd Counting", BMVC 2012): 2000 frames of one fixed camera.

`frames/seq_NNNNNN.jpg`; one file, `mall_gt.mat` or `ground_truth.mat`, with the dots of all frames in
`frame[0,i]['loc'][0,0]` (N, 2) and their number in `count[i]`; `perspective_roi.mat` with `pMapN` (H, W) and the region
of interest in `roi['mask'][0,0]` (H, W). Frames 1 to 800 are the training half, the others the test half.

`pMapN` is not what WorldExpo'10 has. It weighs areas: 1 where people are as large as a reference, and more where they
are smaller, so they are as large as 1 / sqrt(pMapN), which in the real file grows evenly from row to row, as a plane
seen by a camera must (`pytest tests/datasets -k perspective`). We make pixels per metre of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from components.config.options import Options
from components.crowd import Problem, RawSample
from components.datasets.shared.files import images_by_stem, natural
from components.datasets.shared.mat import OTHER_STRUCTURE, as_dots, as_number, load_mat
from components.errors import UserError

TRAINING = 800  # frames
TRUTHS = ("mall_gt.mat", "ground_truth.mat")
SCENE = "perspective_roi.mat"
REFERENCE = 84.0  # pixels per metre where pMapN is 1: of 19 adults, taken to be 1.75 m tall (the same test)
LAYOUT = f"frames/seq_*.jpg, {' or '.join(TRUTHS)}, and {SCENE}"
FROM = 'the authors of "Feature Mining for Localised Crowd Counting" (Chen et al., BMVC 2012)'


class Params(Options):
    """Where the data set lies, seen from the project's root."""

    root: Path = Field(description="the folder that holds `frames`")


class Mall:
    """Raises UserError when there are no frames, or no file with their dots."""

    def __init__(self, root: Path) -> None:
        images = images_by_stem(root / "frames", "seq_*")
        self.frames = [images[name][0] for name in sorted(images, key=natural) if _number(name)]
        truths = [root / name for name in TRUTHS if (root / name).is_file()]
        if not self.frames or not truths:
            raise UserError(f"{root} is not Mall: looked for {LAYOUT}")
        self.truth, self.scene = truths[0], root / SCENE

    def __len__(self) -> int:
        return len(self.frames)

    def samples(self, problems: list[Problem]) -> Iterator[RawSample]:
        """Frames in their order. Without the dots or the region of interest, no frame can be used."""
        file = self.truth
        try:
            frames, counts = read_frames(file)
            file = self.scene
            roi, perspective = read_scene(file)
        except UserError as error:
            problems.append(Problem(str(file), str(error), "all frames are left out", "annotations-unusable"))
            return
        there = {_number(image.stem) for image in self.frames}
        absent = [str(number) for number in range(1, len(frames) + 1) if number not in there]
        if absent:
            what = f"{len(absent)} of its {len(frames)} frames have no image: {', '.join(absent[:5])}"
            problems.append(Problem(str(self.truth), what, "left out", "annotations-unusable"))
        for image in self.frames:
            number = _number(image.stem)
            try:
                dots = _dots(frames, number)
                said = as_number(counts[number - 1], f"count[{number - 1}]")
            except UserError as error:
                problems.append(
                    Problem(
                        str(self.truth), f"frame {number}: {error}", "the image is left out", "annotations-unusable"
                    )
                )
                continue
            if said != len(dots):
                what = f"frame {number}: says {said} people, has {len(dots)} dots"
                problems.append(Problem(str(self.truth), what, "the dots count", "count-differs"))
            yield RawSample(image.stem, image, dots, "train" if number <= TRAINING else "test", roi, perspective)


def build(params: Params) -> Mall:
    return Mall(params.root)


def recognise(root: Path) -> list[dict[str, Any]]:
    return [{}] if (root / "frames").is_dir() and any((root / name).is_file() for name in TRUTHS) else []


def read_frames(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """What MATLAB calls `frame`, (frames,) of records, and `count`, (frames,). Raises UserError."""
    content = load_mat(path, "frame", "count")
    frames, counts = content["frame"].ravel(), content["count"].ravel()
    if len(frames) != len(counts):
        raise UserError(f"has {len(frames)} frames and {len(counts)} counts")
    return frames, counts


def read_scene(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The region of interest (H, W) bool, and pixels per metre (H, W) float64, 0 where unknown. Raises UserError."""
    content = load_mat(path, "roi", "pMapN")
    try:
        roi, weights = content["roi"]["mask"][0, 0].astype(bool), content["pMapN"].astype(np.float64)
    except OTHER_STRUCTURE as error:
        raise UserError(f"not Mall's {SCENE} ({type(error).__name__})") from None
    if roi.ndim != 2 or roi.shape != weights.shape:
        raise UserError(f"has a mask of shape {roi.shape} and a perspective map of shape {weights.shape}")
    return roi, REFERENCE / np.sqrt(np.where(weights > 0, weights, np.inf))


def _dots(frames: np.ndarray, number: int) -> np.ndarray:
    """Dots (N, 2) of a frame, counted from 1. Raises UserError."""
    if number > len(frames):
        raise UserError(f"only {len(frames)} frames have dots")
    try:
        location = frames[number - 1]["loc"][0, 0]
    except OTHER_STRUCTURE as error:
        raise UserError(f"not a frame of Mall ({type(error).__name__})") from None
    return as_dots(location, "loc")


def _number(name: str) -> int:
    """The number of a frame, from 1; 0 for another name."""
    digits = name.removeprefix("seq_")
    return int(digits) if digits.isdecimal() else 0
