"""`python -m components.stages.prepare STUDY DATASET`: raw layout -> manifest.parquet, packed images, a data report.

Images stream through, one in memory at a time. The manifest is written last, under a temporary name: where it stands,
everything beside it is complete. The same raw data and params give the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.config import plugins
from components.config.study import DatasetEntry, Study
from components.crowd import SPLITS, Dataset, Problem
from components.data import availability, report
from components.data import split as splitting
from components.data.decode import Ready, read
from components.data.manifest import SCHEMA
from components.data.packed import PackWriter, keep
from components.data.survey import none_usable, survey
from components.workspace import processes
from components.workspace.layout import Layout
from components.workspace.progress import shown


def main(study: Study, layout: Layout, name: str) -> None:
    entry = processes.entry(study.datasets, name, "datasets", study)
    prepare(entry, f"{layout.params}: datasets.{name}", f"Data set {name}", layout.prepared(name))


def prepare(entry: DatasetEntry, where: str, title: str, folder: Path) -> None:
    """Write one prepared data set. Raises UserError: options, a missing folder, no usable image, an empty split."""
    dataset = _dataset(entry, f"{where}.source")
    (folder / "manifest.parquet").unlink(missing_ok=True)
    problems: list[Problem] = []
    images = read(dataset, entry.longest_side, problems)
    rows, halves = survey(_packed(shown(images, title, len(dataset), "images"), folder))
    if not rows:
        raise none_usable(where, len(dataset), problems)
    ids, groups = [row["id"] for row in rows], [row["group"] for row in rows]
    splits = splitting.assign(ids, halves, groups, entry.split, f"{where}.split")
    problems += splitting.copies(ids, groups, splits)
    kept = _settle(rows, splits, folder / "images")
    report.write(folder, report.contents(title, kept, problems, [splitting.explain(halves, entry.split)]))
    _write_manifest(kept, folder / "manifest.parquet")
    print(f"{title}: {_summary(kept)}, {len(problems)} problems: {folder / 'report.md'}")


def _dataset(entry: DatasetEntry, where: str) -> Dataset:
    return plugins.build("dataset", entry.source.kind, availability.options(entry, where))


def _packed(images: Iterable[Ready], folder: Path) -> Iterator[tuple[Ready, int | None]]:
    """The same images, each packed before it is passed on, and the number of its region of interest.

    Images of one scene share a region, which is packed once."""
    known: dict[bytes, int] = {}
    with PackWriter(folder / "images", np.uint8) as pack, PackWriter(folder / "regions", np.uint8) as regions:
        for image in images:
            pack.append(image.pixels)
            yield image, None if image.region is None else _numbered(image.region, known, regions)


def _numbered(region: np.ndarray, known: dict[bytes, int], pack: PackWriter) -> int:
    mark = hashlib.sha256(region.tobytes() + str(region.shape).encode()).digest()
    if mark not in known:
        pack.append(region)
    return known.setdefault(mark, len(known))


def _settle(rows: list[dict[str, Any]], splits: list[str], images: Path) -> list[dict[str, Any]]:
    """Enter the splits, and leave dropped images out of rows and pack."""
    for row, split in zip(rows, splits, strict=True):
        row["split"] = split
    numbers = [number for number, split in enumerate(splits) if split != splitting.DROPPED]
    keep(images, numbers)
    return [rows[number] for number in numbers]


def _write_manifest(rows: list[dict[str, Any]], path: Path) -> None:
    partial = path.with_suffix(".partial")
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), partial)
    partial.replace(path)


def _summary(rows: list[dict[str, Any]]) -> str:
    splits = [row["split"] for row in rows]
    parts = ", ".join(f"{splits.count(split)} {split}" for split in SPLITS)
    return f"{len(rows)} images ({parts}), {sum(len(row['x']) for row in rows)} dots"


if __name__ == "__main__":
    processes.run(main, "study", "dataset")
