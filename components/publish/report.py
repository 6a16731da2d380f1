"""The report: one HTML file that holds its tables, figures, style and script, and loads nothing from the network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.publish import embedded, tables
from components.publish.tables import Cell, ComparisonCell, EstimateCell, Table


@dataclass(frozen=True)
class Picture:
    """A PNG, the same for a dark page, what it shows, and a description for those who do not see it."""

    file: Path
    dark: Path
    caption: str
    alt: str

    @property
    def files(self) -> tuple[Path, Path]:
        return self.file, self.dark


@dataclass(frozen=True)
class Thumbnail:
    """One of the pixels (H, W, 3) uint8 that stand side by side; a map has a pixel for each of its cells."""

    label: str
    pixels: np.ndarray
    is_map: bool = False


@dataclass(frozen=True)
class Strip:
    """An image and maps of it, side by side; the title names the image."""

    title: str
    caption: str
    panels: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class Section:
    """A heading, a few sentences, and below them pictures, strips, tables and lines of code, in this order."""

    title: str
    text: str = ""
    pictures: tuple[Picture, ...] = ()
    strips: tuple[Strip, ...] = ()
    tables: tuple[Table, ...] = ()
    code: str = ""


@dataclass(frozen=True)
class Report:
    """A study's title, a sentence about it, the findings, and the sections."""

    title: str
    about: str
    finding: str
    sections: tuple[Section, ...]


def write(report: Report, target: Path) -> None:
    """Render `report.html.j2`; everything from params and data is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": embedded.figure,
        "photograph": embedded.photograph,
        "density": embedded.density,
        "csv": lambda table: "data:text/csv;charset=utf-8," + quote(tables.comma_separated(table)),
        "latex": lambda table: "data:text/x-tex;charset=utf-8," + quote(tables.latex(table)),
        "typographic": tables.typographic,
        "sort_value": _sort_value,
        "numeric_columns": lambda table: [tables.is_numeric(column) for column in table.columns],
    }
    environment.tests["estimate_cell"] = lambda cell: isinstance(cell, EstimateCell)
    environment.tests["comparison_cell"] = lambda cell: isinstance(cell, ComparisonCell)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(environment.get_template("report.html.j2").render(report=report), encoding="utf-8")


def _sort_value(cell: Cell) -> str:
    """The number by which a cell is sorted; empty where there is none, or where the text itself says it."""
    measured = cell.ours if isinstance(cell, ComparisonCell) else cell
    if not isinstance(measured, EstimateCell):
        return ""
    return "" if np.isnan(measured.estimate.value) else repr(float(measured.estimate.value))
