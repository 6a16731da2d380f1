"""The report of raw data that no study uses yet: read as the prepare stage reads it, with nothing written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from components.config import plugins
from components.config.options import Choice
from components.config.study import Split
from components.crowd import Problem
from components.data.decode import prepare_images
from components.data.manifest import manifest_rows
from components.data.report import Counted, none_usable, report_contents
from components.data.split import DROPPED, copy_problems, published_splits
from components.errors import UserError

UNSPLIT = "the whole set"
SCHEMA = 1  # of the JSON: grows with what programs that read it have to know


def sources(folder: Path, kind: str | None, options: dict[str, Any]) -> list[Choice]:
    """The data sets of a folder as a study names them: of the given kind, or of the only kind that recognises it."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    found = [source for source in plugins.recognise(folder) if kind in (None, source.kind)]
    names = sorted({source.kind for source in found})
    if len(names) > 1:
        raise UserError(f"{folder}: may be {' or '.join(names)}; choose one with --kind")
    if not found and kind is None:
        known = ", ".join(plugins.kinds("dataset"))
        raise UserError(f"{folder}: looks like no kind of data set; choose one with --kind: {known}")
    guessed = found or [Choice.model_validate({"kind": kind})]
    return [Choice.model_validate({"root": str(folder)} | source.model_dump() | options) for source in guessed]


def report_of(source: Choice, where: str) -> dict[str, Any]:
    """The report of one data set as plain data; besides what a prepared one has, its `source` as a study names it."""
    dataset = plugins.build("dataset", source.kind, plugins.resolve("dataset", source, where))
    problems: list[Problem] = []
    counted = Counted(dataset)
    images = tqdm(prepare_images(counted, None, problems), source.kind, len(dataset), unit=" images", disable=None)
    rows, published, copies = manifest_rows((image, None) for image in images)
    if not rows:
        raise none_usable(where, len(dataset), problems)
    splits = published_splits(published, copies, Split()) if any(published) else [UNSPLIT] * len(rows)
    problems += copy_problems([row["id"] for row in rows], published, copies, splits)
    settled = [row | {"split": split} for row, split in zip(rows, splits, strict=True) if split != DROPPED]
    notes = _notes(source, any(published), rows)
    return {"source": source.model_dump()} | report_contents(
        f"Data in {where}", settled, counted.raw(), problems, notes
    )


def as_json(path: Path, reports: list[dict[str, Any]]) -> str:
    """All reports of a folder for programs. `splits` says of each half what its raw data holds and what is kept."""
    sets = []
    for report in reports:
        halves = {half: {"raw": raw, "kept": report["splits"].get(half)} for half, raw in report["raw"].items()}
        sets.append(report | {"splits": halves, "lost": any(problem["lost"] for problem in report["problems"])})
    for each in sets:
        del each["raw"], each["title"]
    return json.dumps({"schema": SCHEMA, "path": str(path), "data_sets": sets}, indent=2, ensure_ascii=False)


def _notes(source: Choice, published: bool, rows: list[dict[str, Any]]) -> list[str]:
    written = yaml.safe_dump(source.model_dump(), default_flow_style=True, sort_keys=False, width=10_000).strip()
    origin = plugins.split_origin(source.kind)
    own = origin.note or f"Its splits are the {origin.whose} ones."
    splits = own if published else "No train/test split; the study makes one."
    sizes = {(row["width"], row["height"]) for row in rows}
    several = ["Its images have several sizes: set `training.crop`, or `training.batch_size: 1`."]
    return [f"In a study: `source: {written}`", splits, *(several if len(sizes) > 1 else [])]
