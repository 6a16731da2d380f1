"""What the tables print: errors of counts over a test set, their intervals, and paired differences.

All metrics are functions of per-image arrays (..., n) and give (...): one number a seed. GAME(0) is MAE. A table prints
the mean over the seeds. Its 95 % interval is a percentile bootstrap which draws images *and* seeds anew (Owen, "The
pigeonhole bootstrap", 2007): it speaks of other test images and of other runs. With one seed it speaks of images alone,
and from two or three it takes runs to differ less than they do.

A paired difference decides something, so there the few seeds count in full: the percentile bootstrap over images and
Student's interval over the seeds are squared and added (MOVER; Zou & Donner, "Construction of confidence limits about
effect measures", 2008)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from components.errors import UserError
from components.evaluation.scores import Scored

TIMES = 2000  # bootstrap replicates


class Estimate(NamedTuple):
    """A number and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """MAE minus the baseline's MAE, and the same for every seed that both were trained with."""

    mae: Estimate
    by_seed: dict[int, float]

    @property
    def beyond_noise(self) -> bool:
        """Whether the interval leaves out zero. One seed says nothing about other runs."""
        return len(self.by_seed) > 1 and (self.mae.low > 0 or self.mae.high < 0)


def mae(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Mean absolute error of the counts."""
    return np.abs(prediction - truth).mean(axis=-1)


def rmse(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Root mean squared error of the counts; much of the literature heads this column "MSE"."""
    return np.sqrt(np.square(prediction - truth).mean(axis=-1))


def nae(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Mean of |error| / truth over the images with people in them; NaN where there are none."""
    peopled = truth > 0
    if not peopled.any():
        return np.full(prediction.shape[:-1], np.nan)
    return (np.abs(prediction - truth)[..., peopled] / truth[peopled]).mean(axis=-1)


def game(errors: np.ndarray) -> np.ndarray:
    """Grid average mean absolute error of one level: errors (..., n) are already summed over its regions."""
    return errors.mean(axis=-1)


METRICS: dict[str, Callable[[Scored], np.ndarray]] = {
    "MAE": lambda scored: mae(scored.truth, scored.prediction),
    "RMSE": lambda scored: rmse(scored.truth, scored.prediction),
    "NAE": lambda scored: nae(scored.truth, scored.prediction),
    "GAME(1)": lambda scored: game(scored.game[..., 1]),
    "GAME(2)": lambda scored: game(scored.game[..., 2]),
    "GAME(3)": lambda scored: game(scored.game[..., 3]),
}


def measure(scored: Scored) -> np.ndarray:
    """Every metric of METRICS, averaged over the seeds."""
    return np.array([metric(scored).mean() for metric in METRICS.values()])


def estimate(scored: Scored, times: int = TIMES) -> dict[str, Estimate]:
    """Every metric of METRICS with its interval."""
    resampled = np.stack([measure(scored.take(*drawn)) for drawn in _draws(len(scored.seeds), len(scored.ids), times)])
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # a test set without people has no NAE
        low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=0)
    bounds = zip(measure(scored), low, high, strict=True)
    return {name: Estimate(*map(float, numbers)) for name, numbers in zip(METRICS, bounds, strict=True)}


def by_scene(scored: Scored, times: int = TIMES) -> dict[str, Estimate]:
    """MAE of every scene in order, and "average", the mean over the scenes however many images each has.

    The protocol of WorldExpo'10 (Zhang et al. 2015). The bootstrap draws seeds, and images within their scene."""
    errors, names = np.abs(scored.prediction - scored.truth), sorted(set(scored.scenes))
    parts = [errors[:, [scene == name for scene in scored.scenes]] for name in names]
    stream = np.random.default_rng(0)
    drawn = np.array([_scene_means(parts, stream) for _ in range(times)])
    means = [float(part.mean()) for part in parts]
    values = np.array([*means, np.mean(means)])
    low, high = np.percentile(np.column_stack([drawn, drawn.mean(axis=1)]), [2.5, 97.5], axis=0)
    bounds = zip([*names, "average"], values, low, high, strict=True)
    return {name: Estimate(*map(float, numbers)) for name, *numbers in bounds}


def _scene_means(parts: list[np.ndarray], stream: np.random.Generator) -> list[float]:
    """MAE of each scene, its errors (S, n), on seeds and images drawn anew."""
    seeds = stream.integers(len(parts[0]), size=len(parts[0]))
    return [float(part[seeds][:, stream.integers(part.shape[1], size=part.shape[1])].mean()) for part in parts]


def compare(ours: Scored, baseline: Scored, times: int = TIMES) -> Difference:
    """MAE of `ours` minus MAE of `baseline`, paired: the same seeds, and in every replicate the same images for both.

    Raises UserError where the two were scored on different images, or share no seed."""
    seeds = [seed for seed in ours.seeds if seed in baseline.seeds]
    if ours.ids != baseline.ids or not seeds:
        raise UserError("a paired comparison needs the same test images and at least one seed in common")
    gaps = _absolute_errors(ours, seeds) - _absolute_errors(baseline, seeds)
    by_image, by_seed = gaps.mean(axis=0), gaps.mean(axis=1)
    low, high = np.percentile([by_image[images].mean() for _, images in _draws(1, len(by_image), times)], [2.5, 97.5])
    value, of_seeds = float(gaps.mean()), _student(by_seed)
    bounds = Estimate(value, value - math.hypot(value - low, of_seeds), value + math.hypot(high - value, of_seeds))
    return Difference(bounds, dict(zip(seeds, by_seed.tolist(), strict=True)))


def _student(values: np.ndarray) -> float:
    """Half the width of Student's 95 % interval of a mean; 0 for a single value, which knows of no spread."""
    count = len(values)
    return float(stdtrit(count - 1, 0.975) * values.std(ddof=1) / math.sqrt(count)) if count > 1 else 0.0


def _absolute_errors(scored: Scored, seeds: list[int]) -> np.ndarray:
    return np.abs(scored.prediction - scored.truth)[[scored.seeds.index(seed) for seed in seeds]]


def _draws(seeds: int, images: int, times: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions of seeds and of images, each drawn with replacement; the same stream every time."""
    stream = np.random.default_rng(0)
    for _ in range(times):
        yield stream.integers(seeds, size=seeds), stream.integers(images, size=images)
