"""NWPU-Crowd (Wang et al., "NWPU-Crowd: A Large-Scale Benchmark for Crowd Counting and Localization", TPAMI 2020).

`images/NNNN.jpg` (or `images_part1` to `images_part5`) with `jsons/NNNN.json`, whose `points` are (N, 2); `train.txt`,
`val.txt` and `test.txt` list a number, and two labels of the scene, a line. The dots of the test half are not public:
its images are left out, and the validation half, on which papers report too, is the test split here. A validation set
is then cut off from the training half, so that no model is chosen on images that it is reported for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from components.config.options import Options
from components.crowd import Problem, RawSample
from components.datasets.shared import json_records
from components.datasets.shared.files import images_by_stem, read_text
from components.datasets.shared.mat import as_dots
from components.datasets.shared.pairs import Pairs, paired
from components.errors import UserError

LISTS = {"train": "train.txt", "test": "val.txt"}
LAYOUT = "images/*.jpg with jsons/*.json, listed in train.txt or val.txt"
FROM = "crowdbenchmark.com (Wang et al., TPAMI 2020)"


class Params(Options):
    """Where the data set lies, seen from the project's root."""

    root: Path = Field(description="the folder that holds `train.txt`")


class File(json_records.Record):
    points: list[tuple[float, float]]
    number: int | None = Field(None, alias="human_num")


class Nwpu(Pairs):
    truth = ".json"

    def samples(self, problems: list[Problem]) -> Iterator[RawSample]:
        """Also names what the lists name and nobody has: a part of the images that was not downloaded."""
        absent = [pair.id for pair in self.pairs if not pair.image and not pair.truth]
        if absent:
            what = f"{len(absent)} images of the lists are not there, nor their dots: {', '.join(absent[:5])}"
            problems.append(Problem(self.where, what, "left out", "image-missing"))
        yield from super().samples(problems)


def build(params: Params) -> Nwpu:
    folders = [*sorted(params.root.glob("images*"))]
    images: dict[str, list[Path]] = {}
    for folder in folders:
        for stem, paths in images_by_stem(folder).items():
            images.setdefault(stem, []).extend(paths)
    truths = {path.stem: path for path in (params.root / "jsons").glob("*.json")}
    listed = [(split, name) for split, file in LISTS.items() for name in _names(params.root / file)]
    pairs = [paired(f"{split}-{name}", split, images.get(name, []), truths.get(name)) for split, name in listed]
    return Nwpu(pairs, read_dots, str(params.root), LAYOUT)


def recognise(root: Path) -> list[dict[str, Any]]:
    return [{}] if (root / "jsons").is_dir() and any((root / file).is_file() for file in LISTS.values()) else []


def read_dots(path: Path, problems: list[Problem]) -> np.ndarray:
    """Dots (N, 2) float64 of one file; a `human_num` that differs is added to `problems`. Raises UserError."""
    content = json_records.load(path, File)
    if content.number not in (None, len(content.points)):
        what = f"says {content.number} people, has {len(content.points)} dots"
        problems.append(Problem(str(path), what, "the dots count", "count-differs"))
    return as_dots(content.points, "points")


def _names(file: Path) -> list[str]:
    """The first word of every line. Raises UserError: not text."""
    if not file.is_file():
        return []
    try:
        return [line.split()[0] for line in read_text(file).splitlines() if line.strip()]
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
