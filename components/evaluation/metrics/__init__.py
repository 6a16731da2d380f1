"""Metrics of counts over a test set. A metric is a file here, and appears in every table and summary by itself.

Such a file offers `POSITION` (of its columns in a table), `DIGITS` (behind the decimal point), `DESCRIPTION` (a note
for readers) and `METRICS`: functions of `Scores`, by their titles, each of which gives one number per seed, (S,).
Metrics are computed from scores whenever tables are made: a new one needs no training and no evaluation."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from components.evaluation.scores import Scores


class Metric(NamedTuple):
    """One column of a table."""

    title: str
    measure: Callable[[Scores], np.ndarray]
    digits: int
    description: str


def all_metrics() -> dict[str, Metric]:
    """Every metric by its title, in the order of their positions."""
    files = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    modules = sorted((import_module(f"{__name__}.{file}") for file in files), key=lambda module: module.POSITION)
    return {
        title: Metric(title, measure, module.DIGITS, module.DESCRIPTION)
        for module in modules
        for title, measure in module.METRICS.items()
    }
