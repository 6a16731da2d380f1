"""One prepared data set on disk: a Parquet manifest with the dots inline, the images and regions packed beside it.

`components/data/prepare.py` writes it; rasterize, training, evaluation and the figures read it through here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.data.decode import PreparedImage
from components.data.duplicates import Pairs, find_copies, image_signature
from components.data.packed import Pack
from components.data.regions import cell_shares
from components.errors import UserError
from components.workspace.layout import PreparedPaths

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),  # train, val or test
        ("height", pa.int32()),  # pixels of the prepared image
        ("width", pa.int32()),
        ("scale", pa.float64()),  # prepared pixels per raw pixel
        ("x", pa.list_(pa.float64())),  # dots, in prepared pixels
        ("y", pa.list_(pa.float64())),
        ("group", pa.int32()),  # images with one group were kept on one side of a cut, such as copies of one picture
        ("sha256", pa.string()),  # of the raw file, or of the made array's bytes
        ("scene", pa.string()),  # "" where the data set has none
        ("perspective", pa.list_(pa.float64())),  # at each dot, prepared pixels per metre; null without a map
        ("region", pa.int32()),  # number of its region of interest in the pack `regions`; null: the whole image
    ]
)
READ = ["id", "split", "height", "width", "x", "y", "scene", "perspective", "region"]  # columns that rows are made of
METADATA = b"dotfield"  # the key of the manifest's metadata: how the data set was prepared, as JSON

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Preprocessing:
    """How images were prepared, and what their dots mark."""

    longest_side: int | None = None  # pixels: larger images were scaled down
    objects: str = "people"
    split: str = ""  # a sentence: whose splits these are


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


class ManifestRows(Sequence[Row]):
    """Rows of a manifest, each made when it is asked for: what stays in memory is the columns of numbers and text, and
    no Python object for each of a million images (`python -m benchmarks.loader` measures it)."""

    def __init__(self, table: pa.Table, numbers: np.ndarray) -> None:
        """`numbers` (N,): which rows of the table these are, in this order."""
        self._table, self._numbers = table, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> ManifestRows: ...
    def __getitem__(self, place: int | slice) -> Row | ManifestRows:
        if isinstance(place, slice):
            return ManifestRows(self._table, self._numbers[place])
        number = int(self._numbers[place])
        row = {name: self._table[name][number] for name in READ}
        return Row(
            number,
            row["id"].as_py(),
            row["split"].as_py(),
            row["height"].as_py(),
            row["width"].as_py(),
            np.column_stack([row["x"].values.to_numpy(), row["y"].values.to_numpy()]),
            row["scene"].as_py(),
            row["perspective"].values.to_numpy() if row["perspective"].is_valid else None,
            row["region"].as_py(),
        )


class Prepared:
    """Rows, and images (H, W, 3) uint8, memory-mapped; annotation maps lie elsewhere, in packs with the same numbers.

    Raises UserError where the folder has no manifest yet."""

    def __init__(self, folder: Path) -> None:
        paths = PreparedPaths(folder)
        if not paths.manifest.exists():
            raise UserError(
                f"{folder}: {folder.name} is not prepared yet; run `components.stages.prepare` for it first"
            )
        self.folder = folder
        table = read_parquet(paths.manifest, SCHEMA)
        self.preprocessing = Preprocessing(**json.loads((table.schema.metadata or {}).get(METADATA, b"{}")))
        self._table = table.select(READ).combine_chunks()
        self.rows = ManifestRows(self._table, np.arange(len(table)))
        self.images = Pack(paths.images)
        self._regions = Pack(paths.regions) if table["region"].null_count < len(table) else None
        self._fractions: dict[tuple[int | None, int, int, int], np.ndarray] = {}

    def split(self, name: str) -> ManifestRows:
        return ManifestRows(self._table, np.flatnonzero(pc.equal(self._table["split"], name)))

    def region(self, row: Row, side: int) -> np.ndarray | None:
        """The fraction of each cell of `side` pixels that lies in the region of interest: (h, w) float32 in 0..1.

        None where the data set has no regions at all. Of a cell that reaches over the image's border, what lies inside
        the image counts as the whole. Made once for each region, unless the row's image was resized."""
        if self._regions is None:
            return None
        size = (row.height, row.width)
        pixels = None if row.region is None else self._regions[row.region]
        if size != (self.rows[row.number].height, self.rows[row.number].width):
            return cell_shares(pixels, size, side)
        key = (row.region, *size, side)
        if key not in self._fractions:
            self._fractions[key] = cell_shares(pixels, size, side)
        return self._fractions[key]


def manifest_rows(images: Iterable[tuple[PreparedImage, int | None]]) -> tuple[Rows, list[str | None], Pairs]:
    """The manifest's rows without splits and groups; the published split of each image; and the pairs of images that
    are copies of one picture.

    With each image comes the number of its region of interest, if it has one."""
    rows, published, signatures = [], [], []
    for image, region in images:
        rows.append(_row(image, region))
        published.append(image.published_split)
        signatures.append(image_signature(image.raw_pixels))
    return rows, published, find_copies(signatures)


def write_manifest(rows: Rows, preprocessing: Preprocessing, path: Path) -> None:
    """Write a manifest, under a temporary name until it is whole."""
    schema = SCHEMA.with_metadata({METADATA: json.dumps(preprocessing.__dict__).encode()})
    partial = path.with_suffix(".partial")
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), partial)
    partial.replace(path)


def read_parquet(path: Path, schema: pa.Schema) -> pa.Table:
    """A Parquet file. Raises UserError where it is cut off or damaged, OSError where it cannot be read."""
    try:
        table = pq.read_table(path)
        return table.select(schema.names).cast(schema.with_metadata(table.schema.metadata))
    except (pa.ArrowException, KeyError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise UserError(f"{path}: is not whole; remove it and run the stage that writes it again") from None


def _row(image: PreparedImage, region: int | None) -> dict[str, Any]:
    height, width = image.pixels.shape[:2]
    x, y = image.dots.T.tolist()
    return {
        "id": image.id,
        "height": height,
        "width": width,
        "scale": image.scale,
        "x": x,
        "y": y,
        "sha256": image.sha256,
        "scene": image.scene,
        "perspective": None if image.perspective is None else image.perspective.tolist(),
        "region": region,
    }
