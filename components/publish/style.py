"""How every figure looks: quiet axes on white, legible labels, and colours that colour-blind readers distinguish."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Grid = list[list[Axes]]
# Okabe & Ito, "Color universal design", 2008; without its yellow, which is faint on white
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
GREY = "#6b6b6b"
DENSITY = "viridis"
DPI = 150
WIDE = 30  # characters in a line of a panel's title
DIVERGING = "RdBu_r"  # for what may be below zero: blue, white at 0, red
STYLE: dict[Any, Any] = {
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
    "text.parse_math": False,  # titles are the user's: a dollar sign stays one
}


@contextmanager
def drawing(target: Path, rows: int, columns: int, width: float, height: float) -> Iterator[tuple[Figure, Grid]]:
    """A figure of rows x columns axes, each about width x height inches; drawn again, the PNG has the same bytes."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(columns * width, rows * height), layout="constrained", facecolor="white")
        yield figure, [list(row) for row in figure.subplots(rows, columns, squeeze=False)]
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=DPI, metadata={"Software": None})


def colour(place: int) -> str:
    return PALETTE[place % len(PALETTE)]


def dashes(place: int) -> str:
    """The dashes of a line: they change when the palette starts again."""
    return ("-", "--", ":", "-.")[place // len(PALETTE) % 4]


def wrapped(title: str) -> str:
    """A panel's title in lines that fit above it."""
    return "\n".join(line for each in title.split("\n") for line in wrap(each, WIDE))
