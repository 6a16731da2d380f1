"""Charts of a study: predicted against true counts, and how a search went."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter

from components.evaluation.metrics.mae import mean_absolute_error
from components.evaluation.scores import Scores
from components.publish.style import GREY, colour, drawing, wrapped

COLUMNS = 4


def scatter(results: Mapping[str, Scores], target: Path) -> None:
    """Predicted against true counts, one panel per experiment and one point per image and seed, on shared axes."""
    limits = _limits(results)
    rows = -(-len(results) // COLUMNS)
    with drawing(target, rows, min(COLUMNS, len(results)), 2.6, 3.0) as (figure, grid):
        every = [axes for row in grid for axes in row]
        for place, (title, scores) in enumerate(results.items()):
            _counts(every[place], scores, place, limits)
            every[place].set_title(
                f"{wrapped(title)}\nMAE {mean_absolute_error(scores.truth, scores.prediction).mean():.1f}"
            )
        _hide(every[len(results) :])
        figure.supxlabel("people annotated", fontsize=9)
        figure.supylabel("people predicted", fontsize=9)


def search(trials: Path, target: Path) -> None:
    """The validation MAE of every trial in order, the best so far, and MAE along each dimension searched."""
    table = pq.read_table(trials)
    dimensions = [name for name in table.column_names if name.startswith("config.")]
    rows, columns = -(-(1 + len(dimensions)) // 3), min(3, 1 + len(dimensions))
    with drawing(target, rows, columns, 3.1, 2.6) as (_, grid):
        every = [axes for row in grid for axes in row]
        _history(every[0], np.array(table["val_mae"].to_pylist(), float))
        for axes, name in zip(every[1:], dimensions, strict=False):
            _dimension(axes, table, name)
        _hide(every[1 + len(dimensions) :])


def _limits(results: Mapping[str, Scores]) -> tuple[float, float]:
    people = np.concatenate([np.r_[scores.truth, scores.prediction.ravel()] for scores in results.values()])
    room = 0.04 * float(people.max() - people.min())
    return float(people.min()) - room, float(people.max()) + room


def _counts(axes: Axes, scores: Scores, place: int, limits: tuple[float, float]) -> None:
    axes.plot(limits, limits, color=GREY, linewidth=1, linestyle="--")
    truth = np.broadcast_to(scores.truth, scores.prediction.shape)
    axes.scatter(truth.ravel(), scores.prediction.ravel(), s=12, color=colour(place), alpha=0.55, linewidth=0)
    axes.set(xlim=limits, ylim=limits, box_aspect=1)


def _history(axes: Axes, errors: np.ndarray) -> None:
    numbers = np.arange(1, len(errors) + 1)
    axes.scatter(numbers, errors, s=22, color=colour(0), label="trial")
    axes.step(numbers, np.fmin.accumulate(errors), where="post", color=colour(1), label="best so far")
    axes.set(title="in order", xlabel="trial", ylabel="validation MAE (people)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()


def _dimension(axes: Axes, table: pa.Table, name: str) -> None:
    """MAE along one dimension: a logarithmic axis for a wide range, an axis of names for values that are no numbers."""
    real = pa.types.is_floating(table[name].type)
    trials = sorted(
        zip(table[name].to_pylist(), table["val_mae"].to_pylist(), strict=True),
        key=lambda trial: trial[0] if real else str(trial[0]),
    )
    values = [value if real else str(value) for value, _ in trials]
    axes.scatter(values, [error for _, error in trials], s=22, color=colour(0))
    if real and 0 < 10 * trials[0][0] < trials[-1][0]:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif real:
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.ticklabel_format(axis="x", scilimits=(-2, 4))
    axes.set_title(name.removeprefix("config."))
    axes.margins(x=0.12)


def _hide(axes: list[Axes]) -> None:
    for unused in axes:
        unused.set_axis_off()
