"""An inbox of LabelMe pictures beside a study that learns from them, in the current folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from components.config.load import load_options
from components.config.retrain import Retrain
from components.inbox.held_out import HeldOut
from components.inbox.ingest import Ingested, ingest
from components.inbox.raw_set import RawSet, open_raw_set
from components.workspace.layout import RETRAIN, InboxPaths, Layout

WIDTH, HEIGHT = 64, 48
STUDY = {
    "study": "yard",
    "title": "A yard",
    "datasets": {"yard": {"source": {"kind": "labelme", "root": "data/yard"}}},
    "maps": {"near": {"dataset": "yard", "kernel": {"kind": "fixed", "sigma": 4}}},
    "experiments": {"fixed": {"dataset": "yard", "annotation": "near", "counter": {"kind": "mcnn"}}},
    "publish": {"baseline": "fixed"},
}
SETTINGS = {"inbox": "inbox", "study": "yard", "experiment": "fixed", "camera": "(cam[0-9]+)", "settle": 60}
OLD = 1_000_000_000.0  # when what arrives was changed, in seconds since 1970
NOW = OLD + 3600


class Yard:
    """The inbox, the raw data set, and a night's ingest."""

    def __init__(self) -> None:
        for folder in ("inbox", "data/yard"):
            Path(folder).mkdir(parents=True)
        self.configure()

    def configure(self, study: dict[str, Any] = STUDY, **settings: object) -> None:
        Layout("yard").params.parent.mkdir(parents=True, exist_ok=True)
        Layout("yard").params.write_text(yaml.safe_dump(study))
        RETRAIN.write_text(yaml.safe_dump(SETTINGS | settings))
        self.settings = load_options(Retrain, RETRAIN)
        self.raw: RawSet
        self.paths: InboxPaths
        self.raw, self.paths = open_raw_set(self.settings)

    def put(self, name: str, contents: bytes, changed: float = OLD) -> Path:
        path = Path("inbox") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents)
        os.utime(path, (changed, changed))
        return path

    def arrive(self, name: str, seed: int, people: int = 2, **where: Any) -> None:
        """A picture and its label, which differ for each seed."""
        self.put(f"{name}.png", picture(seed), **where)
        self.put(f"{name}.json", label(people, seed), **where)

    def ingest(self, now: float = NOW) -> Ingested:
        return ingest(self.settings, self.raw, self.paths, lambda: HeldOut(self.raw), now)

    def files(self) -> set[str]:
        """The files of the raw data set, without the manifest."""
        root = self.raw.root
        found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        return found - {self.raw.accepted.name}

    def manifest(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.raw.accepted.read_text().splitlines()]


def picture(seed: int, size: tuple[int, int] = (WIDTH, HEIGHT), kind: str = "PNG") -> bytes:
    """Coarse noise: pictures of different seeds are no copies."""
    from io import BytesIO

    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.NEAREST).save(file, kind)
    return file.getvalue()


def label(people: int, seed: int = 0) -> bytes:
    dots = np.random.default_rng(seed).uniform(1, (WIDTH - 1, HEIGHT - 1), (people, 2)).round(2).tolist()
    shapes = [{"label": "head", "shape_type": "point", "points": [dot]} for dot in dots]
    return json.dumps({"shapes": shapes, "imageWidth": WIDTH, "imageHeight": HEIGHT}).encode()


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Yard:
    monkeypatch.chdir(tmp_path)
    return Yard()


@pytest.fixture
def arrived(yard: Yard) -> Callable[[int], Yard]:
    """A yard with so many pictures of two cameras in its inbox."""

    def arrive(number: int) -> Yard:
        for seed in range(number):
            yard.arrive(f"cam{seed % 2}/shot-{seed:03d}", seed)
        return yard

    return arrive
