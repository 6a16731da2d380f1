"""Figures of runs: how training went, and images with their maps. Maps are always in people per cell."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from components.publish.style import DENSITY, DIVERGING, colour, dashes, drawing, wrapped

PANELS = {
    "val_mae": "MAE on the validation images (people)",
    "counting_loss": "counting loss",
    "refinement_loss": "second loss: refinement, or count of the map",
}


class Scale(NamedTuple):
    """The colour scale of a map; `label` is that of the colour bar, which is left out without one."""

    colours: str
    low: float
    high: float
    label: str = ""


class Panel(NamedTuple):
    """One picture on a page: an image (H, W, 3) uint8, or a map (h, w), in people per cell where it has no scale."""

    title: str
    pixels: np.ndarray
    scale: Scale | None = None


def curves(metrics_csv: Path, target: Path) -> None:
    """Validation MAE and losses of one run, by epoch."""
    compare_curves({"": [metrics_csv]}, target)


def compare_curves(runs: Mapping[str, Sequence[Path]], target: Path, dark: Path | None = None) -> None:
    """The same for several experiments: a thin line per seed, a bold one for their mean. Keys are the titles."""
    histories = {title: [read_metrics(path) for path in paths] for title, paths in runs.items()}
    recorded = [name for name in PANELS if any(_has(run, name) for seeds in histories.values() for run in seeds)]
    with drawing(target, 1, len(recorded), 4.2, 3.1, dark) as (figure, [row]):
        for axes, name in zip(row, recorded, strict=True):
            for place, (title, seeds) in enumerate(histories.items()):
                _seed_lines(axes, name, [run for run in seeds if _has(run, name)], place, title)
            axes.set(title=PANELS[name], xlabel="epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            if name != "val_mae":
                _logarithmic(axes)
        if any(runs):
            figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, handlelength=3.5)


def read_metrics(path: Path) -> dict[str, np.ndarray]:
    """The columns of a run's `metrics.csv`; values that an epoch did not measure are NaN."""
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in ("epoch", *PANELS)}


def predictions(examples: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray]], target: Path) -> None:
    """A page of (id, image (H, W, 3) uint8, true map (h, w), predicted map (h, w)), one row each, with their counts."""
    rows = [
        [Panel(name, image), Panel(f"target: {_people(truth)}", truth), Panel(f"predicted: {_people(found)}", found)]
        for name, image, truth, found in examples
    ]
    page(rows, target)


def page(rows: Sequence[Sequence[Panel]], target: Path, dark: Path | None = None) -> None:
    """Images and maps side by side. The maps of a row that have no scale of their own share one, from 0 up."""
    heights = [max(panel.pixels.shape[0] / panel.pixels.shape[1] for panel in row) for row in rows]
    with drawing(target, len(rows), len(rows[0]), 2.3, 2.3 * max(heights) + 0.45, dark) as (figure, grid):
        for panels, row in zip(rows, grid, strict=True):
            common = unsigned([panel.pixels for panel in panels if _mapped(panel)], "people per cell")
            bars: dict[str, AxesImage] = {}
            for axes, panel in zip(row, panels, strict=True):
                scale = panel.scale or common
                shown = _show(axes, panel, scale)
                bars |= {scale.label: shown} if scale.label and panel.pixels.ndim == 2 else {}
            for label, shown in bars.items():
                _bar(figure, row, shown, label)


def unsigned(maps: Sequence[np.ndarray], label: str = "") -> Scale:
    """From 0 to the largest cell of the maps."""
    return Scale(DENSITY, 0.0, max(0.0, *(float(each.max()) for each in maps)) if maps else 0.0, label)


def signed(maps: Sequence[np.ndarray], label: str = "") -> Scale:
    """Symmetric around 0, which is white, up to the largest absolute value of the maps."""
    reach = max(float(np.abs(each).max()) for each in maps)
    return Scale(DIVERGING, -reach, reach, label)


def counted(title: str, density: np.ndarray) -> Panel:
    """A map with its sum in the title."""
    return Panel(f"{title}\n{_people(density)}", density)


def _mapped(panel: Panel) -> bool:
    return panel.pixels.ndim == 2 and panel.scale is None


def _show(axes: Axes, panel: Panel, scale: Scale) -> AxesImage:
    """Show a panel without axes; an RGB image ignores the scale."""
    shown = axes.imshow(panel.pixels, cmap=scale.colours, vmin=scale.low, vmax=scale.high)
    axes.set_title(wrapped(panel.title))
    axes.set(xticks=[], yticks=[])  # ticks that nobody sees still cost half of the time
    axes.set_axis_off()
    return shown


def _bar(figure: Figure, row: Sequence[Axes], shown: AxesImage, label: str) -> None:
    bar = figure.colorbar(shown, ax=row, fraction=0.03, pad=0.01, shrink=0.8)
    bar.set_label(label)
    bar.outline.set_visible(False)


def _logarithmic(axes: Axes) -> None:
    """A logarithmic axis of at most six decades: below them, a refinement loss near 0 is rounding error."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(bottom=max(low, high / 1e6))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1e3 * low else (1,)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")


def _people(density: np.ndarray) -> str:
    return f"{float(density.sum()):.1f} people"


def _has(run: Mapping[str, np.ndarray], name: str) -> bool:
    return bool((run[name] > 0).any())


def _seed_lines(axes: Axes, name: str, runs: Sequence[Mapping[str, np.ndarray]], place: int, title: str) -> None:
    """A thin line for each run, over the epochs that it measured, and a bold one for their mean."""
    line: dict[str, Any] = {"color": colour(place), "linestyle": dashes(place)}
    for run in runs:
        measured = np.isfinite(run[name])
        axes.plot(run["epoch"][measured], run[name][measured], **line, linewidth=0.8, alpha=0.45)
    if runs:
        shared = min(len(run["epoch"]) for run in runs)
        mean = np.mean([run[name][:shared] for run in runs], axis=0)
        measured = np.isfinite(mean)
        axes.plot(runs[0]["epoch"][:shared][measured], mean[measured], **line, linewidth=2, marker=".", label=title)
