"""Collapse alarms: signs that joint training of the density map has gone wrong.

Without its second loss the generator collapses to zero; with too small a weight its maps shrink towards the untrained
counter, or drift to a constant background. The alarms are part of the run's record and of the tables' notes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

LIMITS = {"map_sum_error": 0.4, "map_variance": 0.05, "map_correlation": 0.2}


def health(maps: list[np.ndarray], annotations: list[np.ndarray]) -> dict[str, float]:
    """Compare maps M with annotation maps Y (h, w) of whole images; means over the images:

    map_sum_error    |log(sum M / sum Y)|, without images that have no dots
    map_variance     variance of M within the image, relative to that of Y
    map_correlation  of M with Y, cell by cell

    Nothing where no image has dots."""
    pairs = [(m.ravel(), y.ravel()) for m, y in zip(maps, annotations, strict=True) if y.sum() > 0.5]
    if not pairs:
        return {}
    return {
        "map_sum_error": float(np.mean([abs(math.log(max(m.sum(), 1e-3) / y.sum())) for m, y in pairs])),
        "map_variance": float(np.mean([m.var() / y.var() for m, y in pairs])),
        "map_correlation": float(np.mean([_correlation(m, y) for m, y in pairs])),
    }


def alarms(values: Mapping[str, float]) -> list[str]:
    """The alarms that the values of `health` raise, a sentence each; a value that is not a number raises its alarm.

    None for other values, such as those of maps that do not learn."""
    if not values.keys() >= LIMITS.keys():
        return []
    found = []
    if not values["map_sum_error"] <= LIMITS["map_sum_error"]:
        found.append(f"maps do not sum to the number of people: mean |log ratio| {values['map_sum_error']:.2f}")
    if not values["map_variance"] >= LIMITS["map_variance"]:
        found.append(f"maps are nearly flat: {values['map_variance']:.3f} of the annotation map's variance")
    if not values["map_correlation"] >= LIMITS["map_correlation"]:
        found.append(f"maps no longer follow the dots: correlation {values['map_correlation']:.2f}")
    return found


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    spread = first.std() * second.std()
    return float(np.mean((first - first.mean()) * (second - second.mean())) / spread) if spread > 0 else 0.0
