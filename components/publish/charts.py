"""Charts of a study: predicted against true counts, errors against density, and how a search went."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from components.evaluation.metrics.mae import mean_absolute_error
from components.evaluation.scores import Scores
from components.publish.style import LIGHT, colour, drawing, wrapped

COLUMNS = 4


def scatter(results: Mapping[str, Scores], target: Path, dark: Path | None = None) -> None:
    """Predicted against true counts, one panel per experiment and one point per image and seed, on shared axes."""
    limits = _limits(results)
    with drawing(target, *_shape(len(results)), 2.6, 3.0, dark) as (figure, grid):
        every = [axes for row in grid for axes in row]
        for place, (title, scores) in enumerate(results.items()):
            _counts(every[place], scores, place, limits)
            every[place].set_title(
                f"{wrapped(title)}\nMAE {mean_absolute_error(scores.truth, scores.prediction).mean():.1f}"
            )
        _hide(every[len(results) :])
        figure.supxlabel("people annotated", fontsize=9)
        figure.supylabel("people predicted", fontsize=9)


def errors(
    results: Mapping[str, Scores], densities: Mapping[str, np.ndarray], target: Path, dark: Path | None = None
) -> None:
    """Count errors against density, one panel per experiment and one point per image and seed, on shared axes.

    densities: of each experiment's images (n,), people per megapixel."""
    reach = 1.05 * max(float(np.abs(scores.prediction - scores.truth).max()) for scores in results.values()) or 1.0
    every_density = np.concatenate([*densities.values()])
    with drawing(target, *_shape(len(results)), 2.6, 2.6, dark) as (figure, grid):
        every = [axes for row in grid for axes in row]
        for place, (title, scores) in enumerate(results.items()):
            _errors(every[place], scores, densities[title], place)
            _density_axis(every[place], every_density)
            every[place].set(title=wrapped(title), ylim=(-reach, reach))
        _hide(every[len(results) :])
        figure.supxlabel("people annotated per megapixel", fontsize=9)
        figure.supylabel("predicted minus annotated", fontsize=9)


def search(trials: Path, logarithmic: Container[str], target: Path, dark: Path | None = None) -> None:
    """The validation MAE of every trial in order, the best so far, and MAE along each dimension searched.

    logarithmic: the keys that were drawn from a log-uniform distribution."""
    table = pq.read_table(trials)
    dimensions = [name.removeprefix("config.") for name in table.column_names if name.startswith("config.")]
    with drawing(target, *_shape(1 + len(dimensions), columns=3), 3.1, 2.6, dark) as (_, grid):
        every = [axes for row in grid for axes in row]
        _history(every[0], np.array(table["val_mae"].to_pylist(), float))
        for axes, name in zip(every[1:], dimensions, strict=False):
            _dimension(axes, table[f"config.{name}"], table["val_mae"], name in logarithmic)
            axes.set_title(name)
        _hide(every[1 + len(dimensions) :])


def fifths(density: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean density and mean error of each fifth of the images, by density; fewer where there are fewer images."""
    groups = [group for group in np.array_split(np.argsort(density, kind="stable"), 5) if len(group)]
    return np.array([density[group].mean() for group in groups]), np.array([error[group].mean() for group in groups])


def _shape(panels: int, columns: int = COLUMNS) -> tuple[int, int]:
    """Rows and columns of a grid for so many panels."""
    return -(-panels // columns), min(columns, panels)


def _limits(results: Mapping[str, Scores]) -> tuple[float, float]:
    people = np.concatenate([np.r_[scores.truth, scores.prediction.ravel()] for scores in results.values()])
    room = 0.04 * float(people.max() - people.min())
    return float(people.min()) - room, float(people.max()) + room


def _counts(axes: Axes, scores: Scores, place: int, limits: tuple[float, float]) -> None:
    axes.plot(limits, limits, color=LIGHT.axes, linewidth=1, linestyle="--")
    truth = np.broadcast_to(scores.truth, scores.prediction.shape)
    axes.scatter(truth.ravel(), scores.prediction.ravel(), s=12, color=colour(place), alpha=0.55, linewidth=0)
    axes.set(xlim=limits, ylim=limits, box_aspect=1)


def _errors(axes: Axes, scores: Scores, density: np.ndarray, place: int) -> None:
    """Points, a line at 0, and the mean error of each fifth of the images, by density."""
    error = scores.prediction - scores.truth
    axes.axhline(0, color=LIGHT.axes, linewidth=1, linestyle="--")
    axes.scatter(
        np.broadcast_to(density, error.shape).ravel(), error.ravel(), s=12, color=colour(place), alpha=0.45, linewidth=0
    )
    axes.plot(*fifths(density, error.mean(axis=0)), color=colour(place), linewidth=2, marker="o", markersize=4)


def _density_axis(axes: Axes, density: np.ndarray) -> None:
    """Logarithmic where densities (n,) span more than a factor of ten; then empty images stand left of all others."""
    low, high = float(density[density > 0].min(initial=np.inf)), float(density.max())
    if high <= 10 * low:
        axes.xaxis.set_major_locator(MaxNLocator(4))
        return
    if density.min() > 0:
        axes.set(xscale="log", xlim=(low / 1.2, high * 1.2))
    else:
        axes.set_xscale("symlog", linthresh=low)
        axes.set_xlim(-low / 4, high * 1.2)
    _logarithmic_ticks(axes, low, high)


def _logarithmic_ticks(axes: Axes, low: float, high: float) -> None:
    """Numbers at 1, 2 and 5 of each decade, or at each decade where there are many."""
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _history(axes: Axes, errors: np.ndarray) -> None:
    numbers = np.arange(1, len(errors) + 1)
    axes.scatter(numbers, errors, s=22, color=colour(0), label="trial")
    axes.step(numbers, np.fmin.accumulate(errors), where="post", color=colour(1), label="best so far")
    axes.set(title="in order", xlabel="trial", ylabel="validation MAE (people)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()


def _dimension(axes: Axes, values: pa.ChunkedArray, errors: pa.ChunkedArray, logarithmic: bool) -> None:
    """MAE along one dimension; values that are no numbers, or are choices, stand along an axis of names."""
    real = pa.types.is_floating(values.type)
    trials = sorted(
        zip(values.to_pylist(), errors.to_pylist(), strict=True),
        key=lambda trial: trial[0] if real else str(trial[0]),
    )
    axes.scatter(
        [value if real else str(value) for value, _ in trials], [error for _, error in trials], s=22, color=colour(0)
    )
    if real and logarithmic:
        axes.set_xscale("log")
        _logarithmic_ticks(axes, trials[0][0], trials[-1][0])
    elif real:
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.ticklabel_format(axis="x", scilimits=(-2, 4))
    axes.margins(x=0.12)


def _hide(axes: list[Axes]) -> None:
    for unused in axes:
        unused.set_axis_off()
