"""Mean absolute error of the counts."""

from __future__ import annotations

import numpy as np

POSITION, DIGITS = 1, 1
DESCRIPTION = "MAE in people per image"


def mean_absolute_error(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Counts (n,) and (..., n) -> (...)."""
    error: np.ndarray = np.abs(prediction - truth).mean(axis=-1)
    return error


METRICS = {"MAE": lambda scores: mean_absolute_error(scores.truth, scores.prediction)}
