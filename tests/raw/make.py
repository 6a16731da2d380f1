"""`python -m tests.raw.make` makes the trees beside it: tiny scenes in the two spellings of ShanghaiTech's layout.

Part A has both halves, `ground-truth` and one grey image; part B is `part_B_final` with `ground_truth`, and has a
training half only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from components.datasets.synthetic import Params, scene

ROOT = Path(__file__).parent / "shanghaitech"
PARAMS = Params(height=48, width=64, seed=7, low=3, high=20)


def write_truth(path: Path, dots: np.ndarray, number: int | None = None) -> None:
    """A `.mat` as the data set has it: image_info{1}.location and .number."""
    record = np.empty((1, 1), dtype=[("location", "O"), ("number", "O")])
    record[0, 0] = (dots, np.array([[len(dots) if number is None else number]], np.uint16))
    cell = np.empty((1, 1), object)
    cell[0, 0] = record
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"image_info": cell})


def write_pair(half: Path, truth: str, number: int, seed: int, mode: str = "RGB") -> None:
    pixels, dots = scene(PARAMS, seed)
    (half / "images").mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(half / "images" / f"IMG_{number}.jpg")
    write_truth(half / truth / f"GT_IMG_{number}.mat", dots)


def main() -> None:
    write_pair(ROOT / "part_A/train_data", "ground-truth", 2, seed=0)
    write_pair(ROOT / "part_A/train_data", "ground-truth", 10, seed=1, mode="L")
    write_pair(ROOT / "part_A/test_data", "ground-truth", 1, seed=2)
    write_pair(ROOT / "part_A/test_data", "ground-truth", 2, seed=3)
    write_pair(ROOT / "part_B_final/train_data", "ground_truth", 1, seed=4)
    write_pair(ROOT / "part_B_final/train_data", "ground_truth", 2, seed=5)


if __name__ == "__main__":
    main()
