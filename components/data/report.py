"""What was found in a data set, for people (report.md) and for programs (report.json). Neither holds a date."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from components.crowd import SPLITS, Dataset, Problem, RawSample
from components.errors import UserError
from components.workspace.layout import PreparedPaths

ALL = "all"  # beside the splits: the whole data set


class Counted:
    """A data set that counts what its reader gives: images and dots of each published half, before any is dropped."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.images, self.dots = dataset, Counter[str](), Counter[str]()

    def __len__(self) -> int:
        return len(self.dataset)

    def samples(self, problems: list[Problem]) -> Iterator[RawSample]:
        for sample in self.dataset.samples(problems):
            for half in {sample.split or ALL, ALL}:
                self.images[half] += 1
                self.dots[half] += len(sample.dots)
            yield sample

    def raw(self) -> dict[str, dict[str, int]]:
        """Images and dots by half, and of "all", among whose images are those for which the reader found no dots."""
        counts = {half: {"images": self.images[half], "dots": self.dots[half]} for half in SPLITS if self.images[half]}
        return counts | {ALL: {"images": max(len(self), self.images[ALL]), "dots": self.dots[ALL]}}


def report_contents(
    title: str,
    rows: list[dict[str, Any]],
    raw: dict[str, dict[str, int]],
    problems: list[Problem],
    notes: list[str],
) -> dict[str, Any]:
    """The report as plain data; `rows` are the manifest's, `raw` is that of `Counted`. A split without images is not in
    it."""
    present = [split for split in SPLITS if any(row["split"] == split for row in rows)]
    splits = {split: _counts([len(row["x"]) for row in rows if row["split"] == split]) for split in present}
    return {
        "title": title,
        "splits": splits | {ALL: _counts([len(row["x"]) for row in rows])},
        "raw": raw,
        "sizes": _sizes(rows),
        "notes": notes,
        "problems": [problem._asdict() | {"lost": problem.lost} for problem in problems],
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
    tables = [*_split_table(report["splits"]), "", *_raw_table(report["raw"])]
    return "\n".join([*_head(report), *tables, *_notes(report["notes"]), *_problems(report)])


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


def _raw_table(raw: dict[str, dict[str, int]]) -> list[str]:
    """What the raw data holds, by the halves in which it comes: the table above it has what is kept."""
    lines = ["| raw data | images | dots |", "|---|---:|---:|"]
    return lines + [f"| {half} | {counts['images']} | {counts['dots']} |" for half, counts in raw.items()]


def _notes(notes: list[str]) -> list[str]:
    return ["", *(f"- {note}" for note in notes)]


def _problems(report: dict[str, Any]) -> list[str]:
    problems = report["problems"]
    if not problems:
        return ["", "No problem was found in the data."]
    rows = [
        f"| {_cell(row['file'])} | {_cell(row['what'])} | {_cell(row['action'])} | {row['id']} |" for row in problems
    ]
    return [
        "",
        f"## Problems ({len(problems)})",
        "",
        "| file | what | what was done | kind |",
        "|---|---|---|---|",
        *rows,
    ]


def _cell(text: str) -> str:
    """File names are untrusted: nothing in them ends a cell or a line."""
    return text.replace("|", "\\|").replace("\n", " ")
