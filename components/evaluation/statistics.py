"""Intervals of metrics over a test set, and paired differences.

A metric gives one number per seed; a table prints their mean. Its 95 % interval is a percentile bootstrap that
resamples images *and* seeds (Owen, "The pigeonhole bootstrap", 2007): it covers other test images and other runs. With
one seed it covers other images alone, and with two or three it underestimates how much runs differ.

A paired difference decides something, so there the small number of seeds is taken into account: the half-widths of the
percentile bootstrap over images and of Student's interval over the seeds are squared and added (MOVER; Zou & Donner,
"Construction of confidence limits about effect measures", 2008)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from components.errors import UserError
from components.evaluation.metrics import Metric, all_metrics
from components.evaluation.scores import Scores

REPLICATES = 2000  # of the bootstrap


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
        """Whether the interval excludes zero. One seed says nothing about other runs."""
        return len(self.by_seed) > 1 and (self.mae.low > 0 or self.mae.high < 0)


def measure(scores: Scores, metrics: Sequence[Metric]) -> np.ndarray:
    """The metrics, averaged over the seeds."""
    return np.array([metric.measure(scores).mean() for metric in metrics])


def estimate(scores: Scores, times: int = REPLICATES, metrics: Sequence[Metric] | None = None) -> dict[str, Estimate]:
    """These metrics, or else every one, with their intervals, by their titles."""
    metrics = [*all_metrics().values()] if metrics is None else metrics
    draws = _draws(len(scores.seeds), len(scores.ids), times)
    resampled = np.stack([measure(scores.take(*drawn), metrics) for drawn in draws])
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # a test set without people has no NAE
        low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=0)
    bounds = zip(measure(scores, metrics), low, high, strict=True)
    return {metric.title: Estimate(*map(float, each)) for metric, each in zip(metrics, bounds, strict=True)}


def by_scene(scores: Scores, times: int = REPLICATES) -> dict[str, Estimate]:
    """MAE of every scene in order, and "average", the mean over the scenes however many images each has.

    The protocol of WorldExpo'10 (Zhang et al. 2015). The bootstrap draws seeds, and images within their scene."""
    errors, names = np.abs(scores.prediction - scores.truth), sorted(set(scores.scenes))
    parts = [errors[:, [scene == name for scene in scores.scenes]] for name in names]
    stream = np.random.default_rng(0)
    drawn = np.array([_scene_means(parts, stream) for _ in range(times)])
    means = [float(part.mean()) for part in parts]
    values = np.array([*means, np.mean(means)])
    low, high = np.percentile(np.column_stack([drawn, drawn.mean(axis=1)]), [2.5, 97.5], axis=0)
    bounds = zip([*names, "average"], values, low, high, strict=True)
    return {name: Estimate(*map(float, numbers)) for name, *numbers in bounds}


def _scene_means(parts: list[np.ndarray], stream: np.random.Generator) -> list[float]:
    """MAE of each scene, its errors (S, n), on seeds and images drawn again."""
    seeds = stream.integers(len(parts[0]), size=len(parts[0]))
    return [float(part[seeds][:, stream.integers(part.shape[1], size=part.shape[1])].mean()) for part in parts]


def compare(ours: Scores, baseline: Scores, times: int = REPLICATES) -> Difference:
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


def _absolute_errors(scores: Scores, seeds: list[int]) -> np.ndarray:
    errors: np.ndarray = np.abs(scores.prediction - scores.truth)
    return errors[[scores.seeds.index(seed) for seed in seeds]]


def _draws(seeds: int, images: int, times: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions of seeds and of images, each drawn with replacement; the same stream every time."""
    stream = np.random.default_rng(0)
    for _ in range(times):
        yield stream.integers(seeds, size=seeds), stream.integers(images, size=images)
