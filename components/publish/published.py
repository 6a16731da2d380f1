"""Published figures: `published.yaml` as rows, which of them belong to an experiment, and the paper's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from components.config.options import Choice
from components.errors import UserError

FILE = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class PublishedRow:
    """One printed figure, in as many digits: `method` is a counter for rows about density maps."""

    section: str
    dataset: str
    setting: str
    test: int | None  # images of the test half
    source: str
    reference: str  # the source in full
    table: str  # "table 3", or nothing where the source is no paper
    title: str  # of the table
    method: str
    counter: str  # of the authors' own rows, with which an experiment can be compared
    map: str
    key: str
    mae: float
    rmse: float | None  # where the source prints it
    parameters: float | None  # millions, where they are known
    scenes: tuple[float, ...]  # MAE of each, where the source prints it
    note: str

    @property
    def origin(self) -> str:
        return ", ".join(part for part in (self.source, self.table) if part)

    def matches(self, counter: str, key: str | None) -> bool:
        """Whether this is the figure of an experiment with this kind of counter and `published` key."""
        return bool(key) and self.counter.lower() == counter and canonical_key(self.key) == canonical_key(key)


@dataclass(frozen=True)
class Shape:
    """A table as it is printed: `lines` holds the keys of every line's columns; without lines, a line is a method.

    `columns` is "counters" where these stand across: then a line has one key."""

    columns: tuple[str, ...] | str
    head: str = ""
    lines: Mapping[str, Sequence[str]] = field(default_factory=dict)


def rows() -> list[PublishedRow]:
    """Every published figure, in the order of the file."""
    content = _content()
    return [
        _row(content["sources"], name, section, table, row)
        for name, section in content["sections"].items()
        for table in section["tables"]
        for row in table["rows"]
    ]


def section(name: str) -> list[PublishedRow]:
    """The rows of one section. Raises UserError for a name that the file doesn't have."""
    found = [row for row in rows() if row.section == name]
    if not found:
        allowed = ", ".join(sorted({row.section for row in rows()}))
        raise UserError(f"publish.published: {FILE.name} has no section {name!r}; it has {allowed}")
    return found


def figures_for(name: str | None, counter: str, key: str | None) -> list[PublishedRow]:
    """The published figures of an experiment with this counter and `published` key: none where `key` is none.

    Without a section these are figures on other data sets, for orientation only. A figure printed twice comes once."""
    candidates = rows() if name is None else section(name)
    found = [row for row in candidates if row.matches(counter, key)]
    return list({(row.dataset, row.mae): row for row in reversed(found)}.values())[::-1]


def canonical_key(key: str | None) -> str | None:
    """The one key of experiments that the paper prints under several."""
    canonical: str | None = _content()["same"].get(key, key)
    return canonical


def section_of(source: Choice) -> str | None:
    """The section of the data set that a study prepares from this source."""
    sections: dict[str, dict[str, Any]] = _content()["sections"]
    for name, section in sections.items():
        if "data" in section and section["data"].items() <= {"kind": source.kind, **source.options}.items():
            return name
    return None


def paper_table(number: int) -> list[PublishedRow]:
    """The rows of a table of the paper, in its order."""
    return [row for row in rows() if row.table == f"table {number}"]


def newest(section: str) -> list[PublishedRow]:
    """The newest results on a data set, which are no table of the paper."""
    return [row for row in rows() if row.section == section and not row.table]


def shape(number: int) -> Shape:
    return Shape(**_content()["shapes"][number])


@cache
def _content() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return content


def _row(
    sources: dict[str, Any], name: str, section: dict[str, Any], table: dict[str, Any], row: dict[str, Any]
) -> PublishedRow:
    source = sources[row.get("source") or table["source"]]
    return PublishedRow(
        section=name,
        dataset=section["dataset"],
        setting=section["setting"],
        test=section.get("test"),
        source=source["name"],
        reference=source["title"],
        table=f"table {table['table']}" if "source" in table else "",
        title=table["title"],
        method=(row["method"] if "method" in row else row["counter"]) + (f" ({row['year']})" if "year" in row else ""),
        counter=row.get("counter", ""),
        map=row.get("map", ""),
        key=row.get("key", ""),
        mae=row["mae"],
        rmse=row.get("rmse"),
        parameters=row.get("parameters"),
        scenes=tuple(row.get("scenes", ())),
        note=row.get("note", ""),
    )
