"""The report: one HTML file that holds its tables, figures and style, and loads nothing from the network."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.publish.tables import ComparisonCell, EstimateCell, Table


@dataclass(frozen=True)
class Picture:
    """A PNG and what it shows."""

    file: Path
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading, a few sentences, and below them pictures, tables and lines of code, in this order."""

    title: str
    text: str = ""
    pictures: tuple[Picture, ...] = ()
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
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["embedded"] = _embedded
    environment.tests["estimate_cell"] = lambda cell: isinstance(cell, EstimateCell)
    environment.tests["comparison_cell"] = lambda cell: isinstance(cell, ComparisonCell)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(environment.get_template("report.html.j2").render(report=report))


def _embedded(file: Path) -> str:
    """A PNG as a data URL."""
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
