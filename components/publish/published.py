"""Published figures: `published.yaml` as rows, and which of them an experiment stands beside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class PublishedRow:
    """One printed figure, in as many digits: `method` is a counter for rows about density maps."""

    section: str
    dataset: str
    setting: str
    source: str
    reference: str  # the source in full
    table: str  # "table 3", or nothing where the source is no paper
    method: str
    map: str
    key: str
    mae: float
    rmse: float | None  # where the source prints it
    note: str


def rows() -> list[PublishedRow]:
    """Every published figure, in the order of the file."""
    content = yaml.safe_load(FILE.read_text())
    return [
        _row(content["sources"], name, section, table, row)
        for name, section in content["sections"].items()
        for table in section["tables"]
        for row in table["rows"]
    ]


def section(name: str) -> list[PublishedRow]:
    """The rows of one section. Raises ValueError for a name that the file doesn't have."""
    found = [row for row in rows() if row.section == name]
    if not found:
        allowed = ", ".join(sorted({row.section for row in rows()}))
        raise ValueError(f"publish.published: {FILE.name} has no section {name!r}; it has {allowed}")
    return found


def beside(name: str | None, counter: str, key: str | None) -> list[PublishedRow]:
    """The cells that an experiment with this counter and `published` key stands beside: none where `key` is none.

    Without a section these are cells on other data sets, for orientation alone. A figure printed twice comes once."""
    candidates = rows() if name is None else section(name)
    found = [row for row in candidates if key and row.key == key and row.method.lower() == counter.lower()]
    return list({(row.dataset, row.mae): row for row in reversed(found)}.values())[::-1]


def _row(
    sources: dict[str, Any], name: str, section: dict[str, Any], table: dict[str, Any], row: dict[str, Any]
) -> PublishedRow:
    source = sources[row.get("source") or table["source"]]
    scenes = f"scenes {', '.join(map(str, row['scenes']))}" if "scenes" in row else ""
    return PublishedRow(
        section=name,
        dataset=section["dataset"],
        setting=section["setting"],
        source=source["name"],
        reference=source["title"],
        table=f"table {table['table']}" if "source" in table else "",
        method=row.get("counter") or row["method"] + (f" ({row['year']})" if "year" in row else ""),
        map=row.get("map", ""),
        key=row.get("key", ""),
        mae=row["mae"],
        rmse=row.get("rmse"),
        note="; ".join(note for note in (row.get("note"), scenes) if note),
    )
