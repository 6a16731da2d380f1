"""Checks without labels: what any counter's counts must be like, whatever the pictures show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from PIL import Image

from components.gate.policy import Sanity
from components.gate.verdict import Check, at_most
from components.runs.predictor import Predictor

SCALES = (0.9, 1.1)
NOISE = 1.0  # grey levels


def sanity(
    candidate: Predictor, current: Predictor | None, images: Sequence[np.ndarray], options: Sanity
) -> list[Check]:
    """Critical checks on images (H, W, 3) uint8. A limit that the counter in use itself does not keep is raised to what
    that one does: no candidate is refused for being better."""
    maps = [candidate.density(image) for image in images]
    broken = sum(not np.isfinite(density).all() for density in maps)
    words = f"{broken} of {len(images)} maps hold NaN or infinite numbers" if broken else f"{len(images)} maps"
    finite = at_most("finite", "critical", float(broken), 0.0, words)
    if broken:
        return [finite]
    theirs = {} if current is None else _measure(current, images, [current.density(image) for image in images])
    return [finite, *_compare(_measure(candidate, images, maps), theirs, options)]


def _measure(predictor: Predictor, images: Sequence[np.ndarray], maps: Sequence[np.ndarray]) -> dict[str, float]:
    """Each check's number: a sum over the images, whose densities are `maps`, as a share of the people in these."""
    counts = np.array([density.sum(dtype=np.float64) for density in maps])
    people = float(np.maximum(counts, 1).sum())

    def change(way: Callable[[np.ndarray], float]) -> float:
        return float(np.abs(np.array([way(image) for image in images]) - counts).sum()) / people

    return {
        "negative": sum(float(np.maximum(-density, 0).sum()) for density in maps) / people,
        "tiles": change(lambda image: _tiles(predictor, image)),
        "flip": change(lambda image: predictor.count(np.ascontiguousarray(image[:, ::-1]))),
        "resize": max(change(partial(_count_resized, predictor, scale)) for scale in SCALES),
        "frames": change(lambda image: predictor.count(_noisy(image))),
    }


def _compare(ours: dict[str, float], theirs: dict[str, float], options: Sanity) -> Iterator[Check]:
    what = {
        "negative": "people below zero",
        "tiles": "four quarters counted apart differ from the whole by",
        "flip": "the mirrored image differs by",
        "resize": "10 % smaller or larger differs by",
        "frames": "a grey level of noise changes counts by",
    }
    for name, value in ours.items():
        limit = max(getattr(options, name), theirs.get(name, 0.0))
        in_use = f", in use {theirs[name]:.1%}" if name in theirs else ""
        yield at_most(name, "critical", value, limit, f"{what[name]} {value:.1%}{in_use}")


def _tiles(predictor: Predictor, image: np.ndarray) -> float:
    """The people of an image's quarters, which are whole cells."""
    cells = predictor.cell_size((image.shape[1], image.shape[0]))
    x, y = (max(1, round(side / 2 / cell)) * cell for side, cell in zip(image.shape[1::-1], cells, strict=True))
    left, top = min(round(x), image.shape[1]), min(round(y), image.shape[0])
    quarters = (image[:top, :left], image[:top, left:], image[top:, :left], image[top:, left:])
    return sum(predictor.count(np.ascontiguousarray(quarter)) for quarter in quarters if quarter.size)


def _count_resized(predictor: Predictor, scale: float, image: np.ndarray) -> float:
    width, height = (max(1, round(scale * side)) for side in image.shape[1::-1])
    return predictor.count(np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)))


def _noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, NOISE, image.shape)
    noisy: np.ndarray = np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
    return noisy
