"""A counter's predictions against the dots, image by image: counts, and count errors over ever finer regions.

GAME (grid average mean absolute error; Guerrero-Gomez-Olmo et al., "Extremely overlapping vehicle counting", 2015)
cuts an image into 4^L regions and adds up the absolute count errors of all. Regions are cut along the cells of the
counter's grid and dots are counted on that same grid, so both sides agree about where a region ends at any size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from components.crowd import apply_region_mask
from components.data.manifest import Prepared, Row

LEVELS = 4  # GAME(0) to GAME(3): 1, 4, 16 and 64 regions


class EvalImage(NamedTuple):
    """One whole image to count. Where it has a region of interest, predictions outside do not count; dots outside were
    left out when the data were prepared."""

    id: str
    image: np.ndarray  # (H, W, 3) uint8
    dots: np.ndarray  # (N, 2) pixels
    region: np.ndarray | None = None  # (ceil(H / stride), ceil(W / stride)): fractions of cells inside, 0..1
    scene: str = ""  # where a data set is scored scene by scene


def eval_images(prepared: Prepared, rows: Iterable[Row], stride: int) -> Iterator[EvalImage]:
    """Images of a prepared data set, for a counter of this stride."""
    for row in rows:
        yield EvalImage(row.id, prepared.images[row.number], row.dots, prepared.region(row, stride), row.scene)


@dataclass(frozen=True)
class Score:
    """One image: its people by the dots and by the counter, and absolute count errors summed over 4^L regions."""

    id: str
    truth: float
    prediction: float
    game: tuple[float, float, float, float]
    scene: str = ""


def score(density: Callable[[np.ndarray], np.ndarray], images: Iterable[EvalImage], stride: int) -> list[Score]:
    """Score whole images one by one. `density` maps an image (H, W, 3) uint8 to people per cell,
    (ceil(H / stride), ceil(W / stride))."""
    return [score_image(each, density(each.image), stride) for each in images]


def score_image(image: EvalImage, density: np.ndarray, stride: int) -> Score:
    """The score of a predicted map (h, w), people per cell of `stride` pixels, against an image's dots."""
    people = apply_region_mask(density.astype(np.float64), image.region)
    errors = people - count_dots(image.dots, people.shape, stride)
    levels = [float(np.abs(sum_regions(errors, 2**level)).sum()) for level in range(LEVELS)]
    game = (levels[0], levels[1], levels[2], levels[3])
    return Score(image.id, float(len(image.dots)), float(people.sum()), game, image.scene)


def count_dots(dots: np.ndarray, shape: tuple[int, ...], stride: int) -> np.ndarray:
    """Dots (N, 2) in pixels counted in each of (h, w) cells; a dot on the far edge belongs to the last cell."""
    columns, rows = np.minimum(dots // stride, (shape[1] - 1, shape[0] - 1)).astype(np.int64).T
    counts = np.zeros(shape)
    np.add.at(counts, (rows, columns), 1)
    return counts


def sum_regions(cells: np.ndarray, parts: int) -> np.ndarray:
    """Sums of (h, w) cells over parts x parts regions, as equal as whole cells allow.

    A grid with fewer than `parts` cells along a side leaves some regions empty: they hold 0."""
    integral = np.pad(cells, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    rows, columns = (np.arange(parts + 1) * side // parts for side in cells.shape)
    sums: np.ndarray = np.diff(np.diff(integral[np.ix_(rows, columns)], axis=0), axis=1)
    return sums
