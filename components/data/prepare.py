"""One raw data set made ready: raw layout -> manifest, packed images, a report on the data.

Images stream through, one in memory at a time. The manifest is written last: where it stands, everything beside it is
complete. The same raw data and options give the same bytes."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from components.config import plugins
from components.config.study import DatasetEntry
from components.crowd import SPLITS, Problem
from components.data.availability import open_dataset
from components.data.decode import PreparedImage, prepare_images
from components.data.manifest import Preprocessing, Rows, manifest_rows, write_manifest
from components.data.packed import PackWriter, select_arrays
from components.data.report import Counted, none_usable, report_contents, write_report
from components.data.split import DROPPED, assign_splits, copy_problems, describe_splits, group_images
from components.workspace.layout import PreparedPaths
from components.workspace.progress import progress

log = logging.getLogger(__name__)


def prepare_dataset(entry: DatasetEntry, where: str, title: str, folder: Path) -> None:
    """Write one prepared data set. Raises UserError: options, a missing folder, no usable image, an empty split."""
    paths, dataset = PreparedPaths(folder), open_dataset(entry, f"{where}.source")
    paths.manifest.unlink(missing_ok=True)
    problems: list[Problem] = []
    counted = Counted(dataset)
    images = progress(prepare_images(counted, entry.longest_side, problems), title, len(dataset), "images")
    rows, published, copies = manifest_rows(_packed(images, paths))
    if not rows:
        raise none_usable(where, len(dataset), problems)
    ids, scenes = [row["id"] for row in rows], [row["scene"] for row in rows]
    groups = group_images(ids, scenes, copies, entry.split.group, f"{where}.split")
    splits = assign_splits(ids, published, copies, groups, entry.split, f"{where}.split")
    problems += copy_problems(ids, published, copies, splits)
    kept = _keep(rows, splits, groups, paths.images)
    whose = describe_splits(published, entry.split, plugins.split_origin(entry.source.kind))
    write_report(paths, report_contents(title, kept, counted.raw(), problems, [whose]))
    write_manifest(kept, Preprocessing(entry.longest_side, entry.objects, whose), paths.manifest)
    log.info("%s: %s, %d problems: %s", title, _summary(kept), len(problems), paths.report_markdown)


def _packed(images: Iterable[PreparedImage], paths: PreparedPaths) -> Iterator[tuple[PreparedImage, int | None]]:
    """The same images, each packed before it is passed on, and the number of its region of interest.

    Images of one scene share a region, which is packed once."""
    known: dict[bytes, int] = {}
    with PackWriter(paths.images, np.uint8) as pack, PackWriter(paths.regions, np.uint8) as regions:
        for image in images:
            pack.append(image.pixels)
            if image.region is None:
                yield image, None
                continue
            key = hashlib.sha256(image.region.tobytes() + str(image.region.shape).encode()).digest()
            if key not in known:
                regions.append(image.region)
            yield image, known.setdefault(key, len(known))


def _keep(rows: Rows, splits: list[str], groups: list[int], images: Path) -> Rows:
    """The rows with their splits and groups; images that are dropped are left out, in the pack too."""
    numbers = [number for number, split in enumerate(splits) if split != DROPPED]
    select_arrays(images, numbers)
    return [rows[number] | {"split": splits[number], "group": groups[number]} for number in numbers]


def _summary(rows: Rows) -> str:
    splits = [row["split"] for row in rows]
    parts = ", ".join(f"{splits.count(split)} {split}" for split in SPLITS)
    return f"{len(rows)} images ({parts}), {sum(len(row['x']) for row in rows)} dots"
