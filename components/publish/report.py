"""The report: one HTML file that holds its tables, figures and style, and asks nothing of the network."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.publish.tables import Against, Measured, Table


@dataclass(frozen=True)
class Picture:
    """A PNG and what it shows."""

    file: Path
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading, a few sentences, and what stands below them in this order: pictures, tables, lines of code."""

    title: str
    text: str = ""
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    code: str = ""


@dataclass(frozen=True)
class Report:
    """A study's title, what it is in a sentence, what was found, and the sections."""

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
    environment.tests["measured"] = lambda cell: isinstance(cell, Measured)
    environment.tests["against"] = lambda cell: isinstance(cell, Against)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(environment.get_template("report.html.j2").render(report=report))


def _embedded(file: Path) -> str:
    """A PNG as a data address."""
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
