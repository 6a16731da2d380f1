"""How every figure looks: quiet axes, legible labels, colours that colour-blind readers distinguish, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.figure import Figure

Grid = list[list[Axes]]


class Theme(NamedTuple):
    """Colours of a figure on one ground: text, axes, grid lines, the ground itself, and data in their order."""

    text: str
    axes: str
    grid: str
    ground: str
    data: tuple[str, ...]

    @property
    def colours(self) -> tuple[str, ...]:
        return self.text, self.axes, self.grid, self.ground, *self.data


# Data: Okabe & Ito, "Color universal design", 2008; without its yellow, which is faint on white. Brighter in the dark
LIGHT = Theme(
    "#1c1f23",
    "#6b6b6b",
    "#e3e3e3",
    "#ffffff",
    ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"),
)
DARK = Theme(
    "#e6e8eb",
    "#a2a9b1",
    "#33383f",
    "#161a1e",
    ("#56b4e9", "#f0803c", "#2fbf95", "#dd93bb", "#8ccbf0", "#f0b429", "#ffffff"),
)
COLOURED = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")  # what artists have
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
    "axes.facecolor": LIGHT.ground,
    "axes.grid": True,
    "grid.color": LIGHT.grid,
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor"), LIGHT.text),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), LIGHT.axes),
    "text.parse_math": False,  # titles are the user's: a dollar sign stays one
}


@contextmanager
def drawing(
    target: Path, rows: int, columns: int, width: float, height: float, dark: Path | None = None
) -> Iterator[tuple[Figure, Grid]]:
    """A figure of rows x columns axes, each about width x height inches; drawn again, the PNG has the same bytes.

    dark: where the same figure is written for dark pages, if anywhere."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(columns * width, rows * height), layout="constrained", facecolor=LIGHT.ground)
        yield figure, [list(row) for row in figure.subplots(rows, columns, squeeze=False)]
        _save(figure, target)
        if dark is not None:
            figure.set_layout_engine("none")  # it is laid out
            _darken(figure)
            _save(figure, dark)


def _save(figure: Figure, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=DPI, metadata={"Software": None})


def _darken(figure: Figure) -> None:
    """Every colour of the light theme becomes that of the dark one; images keep theirs."""
    twins = dict(zip(LIGHT.colours, DARK.colours, strict=True))
    for artist in figure.findobj():
        for name in COLOURED:
            if hasattr(artist, f"set_{name}") and hasattr(artist, f"get_{name}"):
                colours = to_rgba_array(getattr(artist, f"get_{name}")())
                if len(colours) and colours[0, 3] > 0 and (twin := twins.get(to_hex(colours[0]))):
                    getattr(artist, f"set_{name}")(twin)


def colour(place: int) -> str:
    return LIGHT.data[place % len(LIGHT.data)]


def dashes(place: int) -> str:
    """The dashes of a line: they change when the palette starts again."""
    return ("-", "--", ":", "-.")[place // len(LIGHT.data) % 4]


def wrapped(title: str) -> str:
    """A panel's title in lines that fit above it."""
    return "\n".join(line for each in title.split("\n") for line in wrap(each, WIDE))
