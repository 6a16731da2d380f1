"""What was found in a data set, for people (report.md) and for programs (report.json). Neither holds a date."""

from __future__ import annotations

import json
from typing import Any

from components.crowd import SPLITS, Problem
from components.errors import UserError
from components.workspace.layout import PreparedPaths


def report_contents(
    title: str, rows: list[dict[str, Any]], problems: list[Problem], notes: list[str]
) -> dict[str, Any]:
    """The report as plain data; `rows` are the manifest's. A split without images is not in it."""
    present = [split for split in SPLITS if any(row["split"] == split for row in rows)]
    splits = {split: _counts([len(row["x"]) for row in rows if row["split"] == split]) for split in present}
    return {
        "title": title,
        "splits": splits | {"all": _counts([len(row["x"]) for row in rows])},
        "sizes": _sizes(rows),
        "notes": notes,
        "problems": [problem._asdict() for problem in problems],
    }


def _counts(counts: list[int]) -> dict[str, float]:
    return {
        "images": len(counts),
        "dots": sum(counts),
        "fewest": min(counts),
        "mean": round(sum(counts) / len(counts), 1),
        "most": max(counts),
    }


def _sizes(rows: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Width and height of the prepared images: [smallest, largest]."""
    return {side: [min(row[side] for row in rows), max(row[side] for row in rows)] for side in ("width", "height")}


def markdown(report: dict[str, Any]) -> str:
    return "\n".join([*_head(report), *_split_table(report["splits"]), *_notes(report["notes"]), *_problems(report)])


def write_report(paths: PreparedPaths, report: dict[str, Any]) -> None:
    paths.report_json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    paths.report_markdown.write_text(markdown(report) + "\n")


def none_usable(where: str, images: int, problems: list[Problem]) -> UserError:
    """The error of a data set of which nothing is left."""
    first = f"; first problem: {': '.join(problems[0][:2])}" if problems else ""
    return UserError(f"{where}: no usable image among {images}{first}")


def _head(report: dict[str, Any]) -> list[str]:
    (narrow, wide), (low, high) = report["sizes"]["width"], report["sizes"]["height"]
    size = f"{wide} x {high}" if (narrow, low) == (wide, high) else f"{narrow}-{wide} x {low}-{high}"
    return [f"# {report['title']}", "", f"Prepared images are {size} px (width x height).", ""]


def _split_table(splits: dict[str, dict[str, float]]) -> list[str]:
    lines = ["| split | images | dots | fewest | mean | most |", "|---|---:|---:|---:|---:|---:|"]
    return lines + [f"| {name} | {' | '.join(str(value) for value in row.values())} |" for name, row in splits.items()]


def _notes(notes: list[str]) -> list[str]:
    return ["", *(f"- {note}" for note in notes)]


def _problems(report: dict[str, Any]) -> list[str]:
    problems = report["problems"]
    if not problems:
        return ["", "No problem was found in the data."]
    rows = [f"| {_cell(row['file'])} | {_cell(row['what'])} | {_cell(row['action'])} |" for row in problems]
    return ["", f"## Problems ({len(problems)})", "", "| file | what | what was done |", "|---|---|---|", *rows]


def _cell(text: str) -> str:
    """File names are untrusted: nothing in them ends a cell or a line."""
    return text.replace("|", "\\|").replace("\n", " ")
