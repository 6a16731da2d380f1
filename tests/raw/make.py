"""`python -m tests.raw.make [KIND ...]` makes the trees beside it: tiny scenes in the layout of every kind of data set.

ShanghaiTech has both of its spellings: part A has both halves, `ground-truth` and one grey image; part B is
`part_B_final` with `ground_truth`, and has a training half only."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.io import savemat

from tests.raw import crowds, tools
from tests.raw.tools import RAW, save_image

ROOT = RAW / "shanghaitech"


def write_truth(path: Path, dots: np.ndarray, number: object = None) -> None:
    """A `.mat` as the data set has it: image_info{1}.location and .number."""
    record = np.empty((1, 1), dtype=[("location", "O"), ("number", "O")])
    record[0, 0] = (dots, np.array([[len(dots)]], np.uint16) if number is None else np.array(number))
    cell = np.empty((1, 1), object)
    cell[0, 0] = record
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"image_info": cell})


def write_pair(half: Path, truth: str, number: int, seed: int, mode: str = "RGB") -> None:
    dots = save_image(half / "images" / f"IMG_{number}.jpg", seed, mode)
    write_truth(half / truth / f"GT_IMG_{number}.mat", dots)


def shanghaitech() -> None:
    write_pair(ROOT / "part_A/train_data", "ground-truth", 2, seed=0)
    write_pair(ROOT / "part_A/train_data", "ground-truth", 10, seed=1, mode="L")
    write_pair(ROOT / "part_A/test_data", "ground-truth", 1, seed=2)
    write_pair(ROOT / "part_A/test_data", "ground-truth", 2, seed=3)
    write_pair(ROOT / "part_B_final/train_data", "ground_truth", 1, seed=4)
    write_pair(ROOT / "part_B_final/train_data", "ground_truth", 2, seed=5)


def main(*names: str) -> None:
    for make in (shanghaitech, *tools.KINDS, *crowds.KINDS):
        if not names or make.__name__ in names:
            make()


if __name__ == "__main__":
    main(*sys.argv[1:])
