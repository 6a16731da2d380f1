"""A counter's people against the dots, image by image: counts, and count errors over ever finer regions.

GAME (grid average mean absolute error; Guerrero-Gomez-Olmo et al., "Extremely overlapping vehicle counting", 2015)
cuts an image into 4^L regions and adds up the absolute count errors of all. Regions are cut along the cells of the
counter's grid and dots are counted on that same grid, so both sides agree about where a region ends at any size."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

LEVELS = 4  # GAME(0) to GAME(3): 1, 4, 16 and 64 regions


class Scene(NamedTuple):
    """One image to count, whole. Where there is a `region`, the share of each of the counter's cells that counts,
    predictions outside it don't; dots outside were left out when the data were prepared."""

    id: str
    image: np.ndarray  # (H, W, 3) uint8
    dots: np.ndarray  # (N, 2) pixels
    region: np.ndarray | None = None  # (ceil(H / stride), ceil(W / stride)) in 0..1
    name: str = ""  # of the scene, where a data set is scored scene by scene


@dataclass(frozen=True)
class Score:
    """One image: people that its dots and the counter say, and absolute count errors summed over 4^L regions."""

    id: str
    truth: float
    prediction: float
    game: tuple[float, float, float, float]
    scene: str = ""


def score(predict: Callable[[Tensor], Tensor], images: Iterable[Scene], stride: int) -> list[Score]:
    """Score whole images one by one, without gradients; `predict` maps (1, 3, H, W) uint8 to people per cell,
    (1, 1, ceil(H / stride), ceil(W / stride))."""
    with torch.no_grad():
        return [compare(each, predict(as_batch(each.image)), stride) for each in images]


def as_batch(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8, perhaps memory-mapped, to a (1, 3, H, W) tensor of its own."""
    return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))[None]


def compare(scene: Scene, predicted: Tensor, stride: int) -> Score:
    """The score of a predicted map (1, 1, h, w), people per cell of `stride` pixels, against an image's dots."""
    people = within(predicted[0, 0].double().cpu().numpy(), scene.region)
    errors = people - count_dots(scene.dots, people.shape, stride)
    levels = [float(np.abs(regions(errors, 2**level)).sum()) for level in range(LEVELS)]
    game = (levels[0], levels[1], levels[2], levels[3])
    return Score(scene.id, float(len(scene.dots)), float(people.sum()), game, scene.name)


def within(people: np.ndarray, region: np.ndarray | None) -> np.ndarray:
    """What counts of a map (h, w): of each cell, the share that lies in the region of interest."""
    return people if region is None else people * region


def count_dots(dots: np.ndarray, shape: tuple[int, ...], stride: int) -> np.ndarray:
    """Dots (N, 2) in pixels counted in each of (h, w) cells; a dot on the far edge belongs to the last cell."""
    columns, rows = np.minimum(dots // stride, (shape[1] - 1, shape[0] - 1)).astype(np.int64).T
    counts = np.zeros(shape)
    np.add.at(counts, (rows, columns), 1)
    return counts


def regions(cells: np.ndarray, parts: int) -> np.ndarray:
    """Sums of (h, w) cells over parts x parts regions, as equal as whole cells allow.

    A grid with fewer than `parts` cells along a side leaves some regions empty: they hold 0."""
    integral = np.pad(cells, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    rows, columns = (np.arange(parts + 1) * side // parts for side in cells.shape)
    return np.diff(np.diff(integral[np.ix_(rows, columns)], axis=0), axis=1)
