"""The report of raw data that no study uses yet: read as the prepare stage reads it, with nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from components.config import plugins
from components.config.options import Choice
from components.crowd import Problem
from components.data.decode import prepare_images
from components.data.manifest import manifest_rows
from components.data.report import markdown, none_usable, report_contents
from components.data.split import DROPPED, duplicate_problems, published_splits
from components.errors import UserError

UNSPLIT = "the whole set"


def check(folder: Path, kind: str | None, options: dict[str, Any]) -> Iterator[str]:
    """The report, in Markdown, of every data set in a folder; `options` go before those that are guessed.

    Raises UserError: no such folder, no or several kinds that it may be, wrong options, no usable image."""
    for source in sources(folder, kind, options):
        yield markdown(report_of(source, str(folder)))


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
    """The report of one data set as plain data."""
    dataset = plugins.build("dataset", source.kind, plugins.resolve("dataset", source, where))
    problems: list[Problem] = []
    images = tqdm(prepare_images(dataset, None, problems), source.kind, len(dataset), unit=" images", disable=None)
    rows, published = manifest_rows((image, None) for image in images)
    if not rows:
        raise none_usable(where, len(dataset), problems)
    ids, groups = [row["id"] for row in rows], [row["group"] for row in rows]
    splits = published_splits(published, groups) if any(published) else [UNSPLIT] * len(rows)
    problems += duplicate_problems(ids, groups, splits)
    settled = [row | {"split": split} for row, split in zip(rows, splits, strict=True) if split != DROPPED]
    return report_contents(f"Data in {where}", settled, problems, _notes(source, any(published), rows))


def _notes(source: Choice, published: bool, rows: list[dict[str, Any]]) -> list[str]:
    written = yaml.safe_dump(source.model_dump(), default_flow_style=True, sort_keys=False, width=10_000).strip()
    splits = "Its splits are the published ones." if published else "No train/test split; the study makes one."
    sizes = {(row["width"], row["height"]) for row in rows}
    several = "Its images have several sizes: set `training.crop`, or `training.batch_size: 1`."
    return [f"In a study: `source: {written}`", splits, *([several] if len(sizes) > 1 else [])]
