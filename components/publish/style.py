"""How every figure looks: quiet axes, legible labels, colours that colour-blind readers distinguish, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

Grid = list[list[Axes]]


class Theme(NamedTuple):
    """Colours of a figure on one ground: text, axes, grid lines, the ground itself, and data in their order."""

    text: str
    axes: str
    grid: str
    ground: str
    data: tuple[str, ...]


# Data: Okabe & Ito, "Color universal design", 2008; without its yellow, which is faint on white. Brighter in the dark
LIGHT = Theme(
    "#1c1f23",
    "#6b6b6b",
    "#e3e3e3",
    "#ffffff",
    ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"),
)
DARK = Theme(
    "#e6e8eb",
    "#a2a9b1",
    "#33383f",
    "#161a1e",
    ("#56B4E9", "#F0803C", "#2FBF95", "#DD93BB", "#8CCBF0", "#F0B429", "#FFFFFF"),
)
GREY = f"C{len(LIGHT.data)}"  # of the axes: the colour behind the data's in matplotlib's cycle
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
    "axes.grid": True,
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.parse_math": False,  # titles are the user's: a dollar sign stays one
}


@contextmanager
def drawing(
    target: Path, rows: int, columns: int, width: float, height: float, theme: Theme = LIGHT
) -> Iterator[tuple[Figure, Grid]]:
    """A figure of rows x columns axes, each about width x height inches; drawn again, the PNG has the same bytes."""
    with matplotlib.rc_context(STYLE | _colours(theme)):
        figure = Figure(figsize=(columns * width, rows * height), layout="constrained", facecolor=theme.ground)
        yield figure, [list(row) for row in figure.subplots(rows, columns, squeeze=False)]
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=DPI, metadata={"Software": None})


def _colours(theme: Theme) -> dict[Any, Any]:
    return {
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "legend.labelcolor"), theme.text),
        **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), theme.axes),
        "axes.facecolor": theme.ground,
        "grid.color": theme.grid,
        "axes.prop_cycle": cycler(color=[*theme.data, theme.axes]),
    }


def colour(place: int) -> str:
    """The colour of a line or of points, by its name in matplotlib's cycle, which is the theme's."""
    return f"C{place % len(LIGHT.data)}"


def dashes(place: int) -> str:
    """The dashes of a line: they change when the palette starts again."""
    return ("-", "--", ":", "-.")[place // len(LIGHT.data) % 4]


def wrapped(title: str) -> str:
    """A panel's title in lines that fit above it."""
    return "\n".join(line for each in title.split("\n") for line in wrap(each, WIDE))
