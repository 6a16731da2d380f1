"""How every figure looks: quiet axes on white, legible labels, and colours that colour-blind readers tell apart."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito, "Color universal design", 2008; without its yellow, which is faint on white
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
GREY = "#6b6b6b"
DENSITY = "viridis"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "xtick.color": GREY,
    "ytick.color": GREY,
}


def sheet(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[list[Axes]]]:
    """A figure of rows x columns axes, each about width x height inches."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(columns * width, rows * height), layout="constrained", facecolor="white")
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [list(row) for row in axes]


def colour(place: int) -> str:
    return PALETTE[place % len(PALETTE)]


def save(figure: Figure, target: Path) -> None:
    """Write a PNG whose bytes depend on the figure alone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        figure.savefig(target, dpi=150, metadata={"Software": None})
