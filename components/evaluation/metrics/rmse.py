"""Root mean squared error of the counts; much of the literature heads this column "MSE"."""

from __future__ import annotations

import numpy as np

POSITION, DIGITS = 2, 1
DESCRIPTION = "RMSE in people per image"


def root_mean_squared_error(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Counts (n,) and (..., n) -> (...)."""
    error: np.ndarray = np.sqrt(np.square(prediction - truth).mean(axis=-1))
    return error


METRICS = {"RMSE": lambda scores: root_mean_squared_error(scores.truth, scores.prediction)}
