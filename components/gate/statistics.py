"""The mean of numbers of images, and how sure it is, where images of one camera are alike.

The bootstrap draws whole cameras (Davison & Hinkley, "Bootstrap Methods and their Application", 1997, 3.8): with its
images a camera comes or goes. Of few cameras, drawing them says little, so images are drawn within each: then the
bounds hold for these cameras alone. Cameras with a single image are one camera then: of one image nothing varies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.evaluation.statistics import REPLICATES, Estimate


def clustered_mean(
    values: np.ndarray, cameras: Sequence[str], confidence: float, fewest: int, times: int = REPLICATES
) -> Estimate:
    """The mean of values (n,), with its lower and upper bounds, each one-sided at `confidence`.

    With fewer than `fewest` cameras, images are drawn within each camera."""
    _, camera = np.unique(np.array(cameras), return_inverse=True)
    sizes, stream = np.bincount(camera), np.random.default_rng(0)
    if len(sizes) >= fewest:
        drawn = stream.integers(len(sizes), size=(times, len(sizes)))
        means = np.bincount(camera, values)[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    else:
        camera = np.where(sizes[camera] > 1, camera, -1)
        parts = [values[camera == number] for number in np.unique(camera)]
        sums = [part[stream.integers(len(part), size=(times, len(part)))].sum(axis=1) for part in parts]
        means = np.sum(sums, axis=0) / len(values)
    low, high = np.quantile(means, [1 - confidence, confidence])
    return Estimate(float(values.mean()), float(low), float(high))
