"""Normalised absolute error of the counts."""

from __future__ import annotations

import numpy as np

POSITION, DIGITS = 3, 3
DESCRIPTION = "NAE is the mean of |error| / people, images without people left out"


def normalised_absolute_error(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Counts (n,) and (..., n) -> (...): over the images with people in them; NaN where there are none."""
    peopled = truth > 0
    if not peopled.any():
        return np.full(prediction.shape[:-1], np.nan)
    error: np.ndarray = (np.abs(prediction - truth)[..., peopled] / truth[peopled]).mean(axis=-1)
    return error


METRICS = {"NAE": lambda scores: normalised_absolute_error(scores.truth, scores.prediction)}
