"""Whether an exported file counts what its run counts: on images of several sizes, most of which are odd."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image

from components.data.manifest import Prepared
from components.errors import UserError

SIZES = ((96, 128), (97, 131), (33, 70), (7, 45), (160, 64), (211, 317))  # height, width
TOLERANCE = 1e-4  # of people, relative
HALF_TOLERANCE = 1e-2  # the same for weights in half precision, whose numbers have 11 bits

Density = Callable[[np.ndarray], np.ndarray]  # (H, W, 3) uint8 RGB, preprocessed -> (h, w) people per cell


def check_images(prepared: Prepared | None) -> list[np.ndarray]:
    """An image (H, W, 3) uint8 of each of `SIZES`: held-out images of the prepared data, resized, or else noise."""
    rows = [] if prepared is None else [*prepared.split("val"), *prepared.split("test")]
    if prepared is None or not rows:
        random = np.random.default_rng(0)
        return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
    places = np.linspace(0, len(rows) - 1, len(SIZES)).astype(int)
    images = [Image.fromarray(np.asarray(prepared.images[rows[place].number])) for place in places]
    return [np.asarray(image.resize(size[::-1])) for image, size in zip(images, SIZES, strict=True)]


def largest_difference(run: Density, exported: Density, images: Iterable[np.ndarray]) -> float:
    """The largest share of the people in an image that the two place otherwise: sum |a - b| / sum |a| over its cells.

    Two counts differ by no larger share: by |sum (a - b)|. Infinite where the two have other cells, or only `exported`
    sees anybody."""
    return max(_difference(run(image), exported(image)) for image in images)


def require_equal(file: str, difference: float, tolerance: float) -> None:
    """Raises UserError where the difference is too large, or not a number."""
    if not difference <= tolerance:
        raise UserError(
            f"{file}: counts differ from the run's by {difference:.2g} of the people, more than {tolerance:.0e}; the "
            "file is removed"
        )


def _difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    people = np.abs(ours.astype(np.float64)).sum()
    apart = np.abs(ours.astype(np.float64) - theirs).sum()
    return float(apart / people) if people else float(np.inf if apart else 0.0)
