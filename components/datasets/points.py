"""Your own images beside a table of dots: CSV or Parquet, one row per dot, with columns image, x and y.

`image` is a path from `root`, or a file name that is unique; x and y are pixels from the top left corner, or fractions
of width and height. A row whose x and y are both empty lists an image that shows nobody. Columns may have other names,
and there may be more of them; one called `split` says which half an image is in. An image of which a row cannot be read
is left out."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow.parquet as pq
from pydantic import Field

from components.crowd import SPLITS, Problem
from components.datasets.shared import sources
from components.datasets.shared.files import Images, read_text
from components.datasets.shared.halves import meant_split
from components.datasets.shared.listed import Listed
from components.datasets.shared.marks import SOME, Entry
from components.datasets.shared.sources import find_sources, recognise_files
from components.errors import UserError

SUFFIXES = (".csv", ".parquet")
SPLIT = "split"
ROWS, INFLATED = 10**6, 2**28  # rows and bytes that any Parquet file may hold, however small it is
DENSEST = 100  # times its size: what a larger one may hold
FEW = 3  # of fewer dots it is no wonder that all lie within one pixel


class Params(sources.Params):
    """Where images and dots lie, and what the columns are called."""

    image: str = Field("image", description="the column with the image's path or name")
    x: str = Field("x", description="the column with the place from the left edge")
    y: str = Field("y", description="the column with the place from the top edge")
    split: str = Field(SPLIT, description="the column with train, val or test; there need be none of this name")
    units: Literal["pixels", "fractions"] = Field("pixels", description="of x and y; fractions of width and height")
    delimiter: str = Field(",", min_length=1, max_length=1, description="between the cells of a CSV")


class Row(NamedTuple):
    """The cells of a row as they are written: text in a CSV, values in a Parquet file."""

    where: str
    image: Any
    x: Any
    y: Any
    split: Any = None
    fault: str | None = None


def build(params: Params) -> Listed:
    sources = find_sources(params, partial(names, params), *SUFFIXES)
    return Listed(params, sources, partial(read, params))


def recognise(root: Path) -> list[dict[str, Any]]:
    """Tables whose columns are called image, x and y."""
    return recognise_files(root, partial(names, Params(root=root)), *SUFFIXES)


def names(params: Params, file: Path) -> set[str] | None:
    """The images that a table lists; None where it has other columns. Raises UserError: it cannot be read."""
    try:
        return {str(row.image) for row in _rows(params, file) if row.image}
    except UserError as error:
        if "has no column" in str(error):
            return None
        raise


def read(params: Params, file: Path, images: Images, problems: list[Problem]) -> Iterator[Entry]:
    """An entry for each image that rows name. Raises UserError: an unreadable file, a missing column, or dots that are
    fractions where pixels are expected."""
    rows: dict[str, list[Row]] = {}
    for row in _rows(params, file):
        if row.image:
            rows.setdefault(str(row.image), []).append(row)
        else:
            problems.append(Problem(row.where, "names no image", "the row is dropped; correct it", "record-invalid"))
    entries = [_entry(params, name, found) for name, found in rows.items()]
    dots = {dot for entry in entries for dot in entry.dots}
    if params.units == "pixels" and len(dots) >= FEW and all(0 <= value <= 1 for dot in dots for value in dot):
        raise UserError(f"all {len(dots)} dots lie within one pixel: set `units: fractions` if they are fractions")
    yield from entries


def _rows(params: Params, file: Path) -> Iterator[Row]:
    return (_parquet_rows if file.suffix.lower() == ".parquet" else _csv_rows)(params, file)


def _entry(params: Params, name: str, rows: list[Row]) -> Entry:
    """What the rows of one image say, or why it cannot be used."""
    dots: list[tuple[float, float]] = []
    faults = []
    for row in rows:
        try:
            dots += _dots(row)
        except UserError as error:
            faults.append(f"{Path(row.where).name}: {error}")
    splits = {str(row.split or "").strip() for row in rows}
    split = meant_split(next(iter(splits)))
    if len(splits) > 1 or (splits != {""} and split is None):
        faults.append(f"its split is {' and '.join(map(repr, sorted(splits)))}, not one of {', '.join(SPLITS)}")
    if (times := _times(dots)) > 1:
        faults.append(f"each of its dots is listed {times} times: the table lists it again")
    where = rows[0].where
    fault = "; ".join(faults[:SOME]) or None
    return Entry(name, dots, where, split=split, fault=fault, fractions=params.units == "fractions")


def _times(dots: list[tuple[float, float]]) -> int:
    """How often every one of two or more places is listed; 1 where that differs."""
    numbers = Counter(dots)
    return next(iter(numbers.values())) if len(numbers) > 1 and len({*numbers.values()}) == 1 else 1


def _csv_rows(params: Params, file: Path) -> Iterator[Row]:
    table = csv.reader(io.StringIO(read_text(file), newline=""), delimiter=params.delimiter, strict=True)
    try:
        head = next(table, [])
        _check_columns(params, head)
        wanted = [head.index(name) if name in head else None for name in _columns(params)]
        for cells in table:
            if not cells:
                continue
            fault = None if len(cells) == len(head) else f"has {len(cells)} cells, the first row {len(head)}"
            image, x, y, split = (cells[at] if at is not None and at < len(cells) else None for at in wanted)
            yield Row(f"{file}:{table.line_num}", image, x, y, split, fault)
    except csv.Error as error:
        raise UserError(f"is not a CSV file: {error}") from None


def _parquet_rows(params: Params, file: Path) -> Iterator[Row]:
    try:
        names, metadata = pq.read_schema(file).names, pq.read_metadata(file)
    except Exception as error:  # a damaged file fails in Arrow with errors of many types
        raise UserError(f"not a readable Parquet file ({type(error).__name__})") from None
    _check_columns(params, names)
    wanted = [name for name in _columns(params) if name in names]
    _check_size(metadata, file.stat().st_size)
    try:
        table = pq.read_table(file, columns=wanted)
        columns = [table[name].to_pylist() for name in wanted]
    except Exception as error:  # damaged pages, or values that Python has no type for
        raise UserError(f"its columns {', '.join(wanted)} cannot be read ({type(error).__name__})") from None
    for number, cells in enumerate(zip(*columns, strict=True), 1):
        yield Row(f"{file}: row {number}", *cells)


def _columns(params: Params) -> tuple[str, str, str, str]:
    return params.image, params.x, params.y, params.split


def _check_columns(params: Params, names: list[str]) -> None:
    needed = ("image", "x", "y") if params.split == SPLIT else ("image", "x", "y", "split")
    for option in needed:
        if getattr(params, option) not in names:
            raise UserError(
                f"has no column {getattr(params, option)!r}; it has {', '.join(names) or 'none'}: set `{option}` "
                "to the name of the column, and `delimiter` to what stands between the cells"
            )
    twice = [name for name in _columns(params) if names.count(name) > 1]
    if twice:
        raise UserError(f"has several columns called {twice[0]!r}: rename all but one")


def _check_size(metadata: pq.FileMetaData, size: int) -> None:
    """Raises UserError: a table of far more rows or bytes than its file of `size` bytes can say anything of."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    inflated = sum(group.total_byte_size for group in groups)
    if metadata.num_rows > max(ROWS, size) or inflated > max(INFLATED, DENSEST * size):
        raise UserError(f"holds {metadata.num_rows:,} rows, {inflated:,} bytes, in a file of {size:,} bytes: refused")


def _dots(row: Row) -> list[tuple[float, float]]:
    """One dot, or none where both cells are empty. Raises UserError: what is no number, or a row of another length."""
    if row.fault:
        raise UserError(row.fault)
    if row.x in ("", None) and row.y in ("", None):
        return []
    return [(_number("x", row.x), _number("y", row.y))]


def _number(axis: str, cell: Any) -> float:
    try:
        value = float(cell)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{axis} is {cell!r}, not a number") from None
    if not isfinite(value):
        raise UserError(f"{axis} is {cell!r}, not a place")
    return value
