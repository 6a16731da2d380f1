"""How fast density maps are drawn: against the usual script, and for all of ShanghaiTech's training images.

    OMP_NUM_THREADS=1 python -m benchmarks.density_maps [--full] [--data ../shared/data/shanghaitech]

The usual script (after CSRNet's public make_dataset) filters the full image once per dot, sigma = 0.3 x the mean
distance to the 3 nearest neighbours. It takes minutes, so 20 of the dots, which are in random order, are filtered and
the time is scaled by their share; --full filters them all. Ours is the median of 21 maps, bandwidths included."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from scipy.io import loadmat
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

from components.density_maps.drawn.adaptive import Adaptive, Params
from components.density_maps.gaussian import draw

SIZE = (768, 1024)  # height, width
SUBSET = 20
T = TypeVar("T")
NEEDED_RATIO, NEEDED_SECONDS = 500, 30


def usual(dots: np.ndarray, filtered: int, size: tuple[int, int]) -> np.ndarray:
    """The usual script's map (H, W), float32, of the first `filtered` dots; all are looked up as neighbours."""
    distances, _ = KDTree(dots).query(dots, k=4)
    surface = np.zeros(size, np.float32)
    for (x, y), (_, *others) in zip(dots[:filtered], distances[:filtered], strict=True):
        point = np.zeros(size, np.float32)
        point[min(int(y), size[0] - 1), min(int(x), size[1] - 1)] = 1
        surface += gaussian_filter(point, sum(others) * 0.1, mode="constant")
    return surface


def ours(dots: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The map (ceil(H/4), ceil(W/4)) that the rasterize stage writes."""
    sigmas = torch.from_numpy(Adaptive(Params()).bandwidths(dots))
    return draw(torch.from_numpy(dots), sigmas, size).numpy()


def crowd(people: int) -> np.ndarray:
    """Dots (N, 2) evenly at random in an image of SIZE."""
    return np.random.default_rng(0).uniform(0, (SIZE[1], SIZE[0]), (people, 2))


def compare(people: int, full: bool) -> float:
    """Print one row of the table; the ratio of the two times."""
    dots, filtered = crowd(people), people if full else SUBSET
    seconds, surface = timed(lambda: usual(dots, filtered, SIZE))
    usual_seconds = seconds * people / filtered
    ours(dots, SIZE)
    our_seconds = statistics.median(timed(lambda: ours(dots, SIZE))[0] for _ in range(21))
    ratio = usual_seconds / our_seconds
    lost = f"{people - surface.sum(dtype=np.float64):.2f}" if full else "--full"
    print(f"| {people:5d} | {usual_seconds:9.2f} | {our_seconds:8.4f} | {ratio:7.0f} | {lost:>18} |")
    return ratio


def training_images(root: Path) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
    """Dots (N, 2) and (height, width) of every training image of both parts."""
    for truth in sorted(root.glob("part_*/train_data/ground-truth/GT_*.mat")):
        with Image.open(truth.parents[1] / "images" / f"{truth.stem.removeprefix('GT_')}.jpg") as image:
            width, height = image.size
        dots = loadmat(truth)["image_info"][0, 0][0, 0]["location"]
        yield dots.clip(0, [width, height]), (height, width)


def rasterize_all(root: Path) -> float:
    """Print how long all training images take, and the largest error of a sum; the seconds."""
    read, images = timed(lambda: list(training_images(root)))
    seconds, maps = timed(lambda: [ours(dots, size) for dots, size in images])
    people = sum(len(dots) for dots, _ in images)
    worst = max(abs(drawn.sum(dtype=np.float64) - len(dots)) for drawn, (dots, _) in zip(maps, images, strict=True))
    print(f"\nShanghaiTech, {len(images)} training images, {people:,} dots, one core: {seconds:.2f} s ", end="")
    print(f"(reading the annotations: {read:.1f} s more); largest error of a sum: {worst:.0e} people")
    return seconds


def timed(function: Callable[[], T]) -> tuple[float, T]:
    """Seconds that a call takes, and what it returns."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="filter every dot of the usual script")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data/shanghaitech"), help="ShanghaiTech, both parts"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("1024 x 768 px, adaptive, one core; the usual script at full resolution, ours on the 1/4 grid\n")
    print("|  dots |  usual, s |  ours, s |   ratio | people usual loses |")
    print("|------:|----------:|---------:|--------:|-------------------:|")
    reached = [compare(people, arguments.full) >= NEEDED_RATIO for people in (500, 3000)]
    if arguments.data.exists():
        reached.append(rasterize_all(arguments.data) < NEEDED_SECONDS)
    else:
        print(f"\nno ShanghaiTech at {arguments.data}: give its place with --data")
    print(f"\nneeded: a ratio of {NEEDED_RATIO}, {NEEDED_SECONDS} s: {'reached' if all(reached) else 'MISSED'}")
    sys.exit(0 if all(reached) else 1)


if __name__ == "__main__":
    main()
