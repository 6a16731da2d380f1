"""One prepared data set on disk: a Parquet manifest with the dots inline, and the images packed beside it.

`components/stages/prepare.py` writes it; rasterize, training, evaluation and the figures read it through here."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.packing import Pack

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


def whole_table(path: Path, schema: pa.Schema) -> pa.Table:
    """A Parquet file. Raises ValueError where it is cut off or is none."""
    try:
        return pq.read_table(path, schema=schema)
    except pa.ArrowInvalid:
        raise ValueError(f"{path}: is not whole; remove it and run the stage that writes it again") from None


class Prepared:
    """Rows, and images (H, W, 3) uint8, memory-mapped; annotation maps lie elsewhere, in packs with the same numbers.

    Raises ValueError where the folder has no manifest yet."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "manifest.parquet").exists():
            raise ValueError(
                f"{folder}: {folder.name} is not prepared yet; run `components.stages.prepare` for it first"
            )
        self.folder = folder
        table = whole_table(folder / "manifest.parquet", SCHEMA)
        self.rows = [
            Row(number, row["id"], row["split"], row["height"], row["width"], np.column_stack([row["x"], row["y"]]))
            for number, row in enumerate(table.to_pylist())
        ]
        self.images = Pack(folder / "images")

    def split(self, name: str) -> list[Row]:
        return [row for row in self.rows if row.split == name]
