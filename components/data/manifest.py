"""One prepared data set on disk: a Parquet manifest with the dots inline, the images and regions packed beside it.

`components/stages/prepare.py` writes it; rasterize, training, evaluation and the figures read it through here."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.crowd import block_sum
from components.data.packed import Pack
from components.errors import UserError

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),  # train, val or test
        ("height", pa.int32()),  # pixels of the prepared image
        ("width", pa.int32()),
        ("scale", pa.float64()),  # prepared pixels per raw pixel
        ("x", pa.list_(pa.float64())),  # dots, in prepared pixels
        ("y", pa.list_(pa.float64())),
        ("group", pa.int32()),  # images with one group are copies of one picture and stand on one side of a split
        ("sha256", pa.string()),  # of the raw file, or of the made array's bytes
        ("scene", pa.string()),  # "" where the data set has none
        ("perspective", pa.list_(pa.float64())),  # at each dot, prepared pixels per metre; null without a map
        ("region", pa.int32()),  # number of its region of interest in the pack `regions`; null: the whole image
    ]
)


class Row(NamedTuple):
    """One image of the manifest; `number` is its place in the packs."""

    number: int
    id: str
    split: str
    height: int
    width: int
    dots: np.ndarray  # (N, 2) float64: x, y in prepared pixels
    scene: str = ""
    perspective: np.ndarray | None = None  # (N,) float64: prepared pixels per metre at each dot; 0: not known there
    region: int | None = None


def whole_table(path: Path, schema: pa.Schema) -> pa.Table:
    """A Parquet file. Raises UserError where it is cut off, damaged or none, OSError where it cannot be read."""
    try:
        return pq.read_table(path, schema=schema)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise UserError(f"{path}: is not whole; remove it and run the stage that writes it again") from None


class Prepared:
    """Rows, and images (H, W, 3) uint8, memory-mapped; annotation maps lie elsewhere, in packs with the same numbers.

    Raises UserError where the folder has no manifest yet."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "manifest.parquet").exists():
            raise UserError(
                f"{folder}: {folder.name} is not prepared yet; run `components.stages.prepare` for it first"
            )
        self.folder = folder
        table = whole_table(folder / "manifest.parquet", SCHEMA)
        self.rows = [
            Row(
                number,
                row["id"],
                row["split"],
                row["height"],
                row["width"],
                np.column_stack([row["x"], row["y"]]),
                row["scene"],
                None if row["perspective"] is None else np.array(row["perspective"]),
                row["region"],
            )
            for number, row in enumerate(table.to_pylist())
        ]
        self.images = Pack(folder / "images")
        self._regions = Pack(folder / "regions") if any(row.region is not None for row in self.rows) else None
        self._shares: dict[tuple[int | None, int, int, int], np.ndarray] = {}

    def split(self, name: str) -> list[Row]:
        return [row for row in self.rows if row.split == name]

    def region(self, row: Row, side: int) -> np.ndarray | None:
        """Of each cell of `side` pixels, the share within the region of interest: (h, w) float32 in 0..1.

        None where the data set has no regions at all. Of a cell that reaches over the image's border, what lies inside
        the image counts as the whole. Made once for each region."""
        if self._regions is None:
            return None
        key = (row.region, row.height, row.width, side)
        if key not in self._shares:
            every = np.ones((row.height, row.width), np.float32)
            shares = every if row.region is None else self._regions[row.region] / np.float32(255)
            self._shares[key] = (block_sum(shares, side) / block_sum(every, side)).astype(np.float32)
        return self._shares[key]
