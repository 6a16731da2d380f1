"""The report of raw data that no study uses yet: read as the prepare stage reads it, with nothing written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from scipy.spatial import KDTree
from tqdm import tqdm

from components.config import plugins
from components.config.options import Choice
from components.config.study import Split
from components.crowd import Problem
from components.data.decode import image_suffixes, prepare_images
from components.data.manifest import Rows, manifest_rows
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
        raise UserError(f"{folder}: {_what_else(folder)}; choose one with --kind: {known}")
    guessed = found or [Choice.model_validate({"kind": kind})]
    every = [Choice.model_validate({"root": str(folder)} | source.model_dump() | options) for source in guessed]
    return [source for number, source in enumerate(every) if source not in every[:number]]  # options may name one part


def _what_else(folder: Path) -> str:
    """What a folder is that is no kind of data set: in particular, pictures that nobody has labelled yet."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    images = [path for path in files if path.suffix.lower() in image_suffixes()]
    others = sorted({path.suffix or path.name for path in files} - {path.suffix for path in images})
    if not images:
        return "looks like no kind of data set: it holds no image"
    if not others:
        return f"is unlabelled: it holds {len(images)} images and nothing that says where people are; label them first"
    return (
        f"looks like no kind of data set: nothing in its files ({', '.join(others[:5])}) names its {len(images)} images"
    )


class Inspected(NamedTuple):
    """What is in one data set: `rows` are those of a manifest, with the split that the data set itself settles."""

    source: Choice
    rows: Rows
    raw: dict[str, dict[str, int]]
    problems: list[Problem]
    published: bool  # whether the data set has splits of its own


def inspect(source: Choice, where: str) -> Inspected:
    """Read one data set as the prepare stage does. Raises UserError: its options, no usable image."""
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
    return Inspected(source, settled, counted.raw(), problems, any(published))


def report_of(found: Inspected, where: str) -> dict[str, Any]:
    """The report of one data set as plain data; besides what a prepared one has, its `source` as a study names it."""
    contents = report_contents(f"Data in {where}", found.rows, found.raw, found.problems, _notes(found))
    return {"source": found.source.model_dump()} | contents


def nearest_distances(dots: np.ndarray) -> np.ndarray:
    """The distance of each dot (N, 2) to the nearest other one, (N,); none for fewer than two dots."""
    if len(dots) < 2:
        return np.empty(0)
    distances: np.ndarray = KDTree(dots).query(dots, 2)[0][:, 1]
    return distances


def as_json(path: Path, reports: list[dict[str, Any]]) -> str:
    """All reports of a folder for programs. `splits` says of each half what its raw data holds and what is kept."""
    sets = []
    for report in reports:
        halves = {half: {"raw": raw, "kept": report["splits"].get(half)} for half, raw in report["raw"].items()}
        sets.append(report | {"splits": halves, "lost": any(problem["lost"] for problem in report["problems"])})
    for each in sets:
        del each["raw"], each["title"]
    return json.dumps({"schema": SCHEMA, "path": str(path), "data_sets": sets}, indent=2, ensure_ascii=False)


def _notes(found: Inspected) -> list[str]:
    origin = plugins.split_origin(found.source.kind)
    own = origin.note or f"Its splits are the {origin.whose} ones."
    splits = own if found.published else "No train/test split; the study makes one."
    sizes = {(row["width"], row["height"]) for row in found.rows}
    several = ["Its images have several sizes: set `training.crop`, or `training.batch_size: 1`."]
    return [f"In a study: `source: {in_yaml(found.source)}`", splits, *(several if len(sizes) > 1 else [])]


def in_yaml(source: Choice) -> str:
    """A data set as it is written in a study, on one line."""
    return yaml.safe_dump(source.model_dump(), default_flow_style=True, sort_keys=False, width=10_000).strip()
