"""Your own images beside a table of dots: CSV or Parquet, one row per dot, with columns image, x and y.

`image` is a path from `root`, or a file name that is unique; x and y are pixels from the top left corner. A row whose x
and y are both empty lists an image that shows nobody. Columns may have other names, and there may be more of them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
from pydantic import Field

from components.crowd import Problem
from components.datasets.shared import listed
from components.datasets.shared.files import annotation_file, annotation_files
from components.datasets.shared.listed import Entry, Listed
from components.errors import UserError

SUFFIXES = (".csv", ".parquet")


class Params(listed.Params):
    """Where images and dots lie, and what the columns are called."""

    image: str = "image"
    x: str = "x"
    y: str = "y"
    delimiter: str = Field(",", min_length=1, max_length=1, description="between the cells of a CSV")


class Row(NamedTuple):
    """The three cells of a row as they are written: text in a CSV, values in a Parquet file."""

    where: str
    image: Any
    x: Any
    y: Any


def build(params: Params) -> Listed:
    file = annotation_file(params.root, params.annotations, *SUFFIXES)
    return Listed(params.root, file, partial(read, params))


def recognise(root: Path) -> list[dict[str, Any]]:
    """Tables whose columns are called image, x and y."""
    files = annotation_files(root, *SUFFIXES)
    return [{"annotations": str(file)} for file in files if {"image", "x", "y"} <= {*_columns(file)}]


def read(params: Params, file: Path, problems: list[Problem]) -> Iterator[Entry]:
    """An entry a row; a row that is none is a problem. Raises UserError: an unreadable file or a missing column."""
    rows = _parquet_rows if file.suffix.lower() == ".parquet" else _csv_rows
    for row in rows(params, file):
        try:
            yield Entry(_name(row.image), _dots(row), row.where)
        except UserError as error:
            problems.append(Problem(row.where, str(error), "the row is dropped; correct it"))


def _csv_rows(params: Params, file: Path) -> Iterator[Row]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            table = csv.DictReader(lines, delimiter=params.delimiter, strict=True)
            _check_columns(params, list(table.fieldnames or []))
            for cells in table:
                row = (cells[name] for name in (params.image, params.x, params.y))
                yield Row(f"{file}:{table.line_num}", *row)
    except UnicodeDecodeError:
        raise UserError("is not UTF-8 text: save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise UserError(f"is not a CSV file: {error}") from None


def _parquet_rows(params: Params, file: Path) -> Iterator[Row]:
    try:
        names = pq.read_schema(file).names
    except Exception as error:  # a damaged file fails in Arrow with errors of many types
        raise UserError(f"not a readable Parquet file ({type(error).__name__})") from None
    _check_columns(params, names)
    wanted = [params.image, params.x, params.y]
    try:
        table = pq.read_table(file, columns=wanted)
        columns = [table[name].to_pylist() for name in wanted]
    except Exception as error:  # damaged pages, or values that Python has no type for
        raise UserError(f"its columns {', '.join(wanted)} cannot be read ({type(error).__name__})") from None
    for number, cells in enumerate(zip(*columns, strict=True), 1):
        yield Row(f"{file}: row {number}", *cells)


def _check_columns(params: Params, names: list[str]) -> None:
    for option in ("image", "x", "y"):
        if getattr(params, option) not in names:
            raise UserError(
                f"has no column {getattr(params, option)!r}; it has {', '.join(names) or 'none'}: set `{option}` "
                "to the name of the column, and `delimiter` to what stands between the cells"
            )
        if names.count(getattr(params, option)) > 1:
            raise UserError(f"has several columns called {getattr(params, option)!r}: rename all but one")


def _name(cell: Any) -> str:
    if not cell:
        raise UserError("names no image")
    return str(cell)


def _dots(row: Row) -> list[tuple[float, float]]:
    """One dot, or none where both cells are empty. Raises UserError: what is no number."""
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


def _columns(file: Path) -> list[str]:
    """The names of a table's columns; none where it is unreadable."""
    try:
        if file.suffix.lower() == ".parquet":
            return [str(name) for name in pq.read_schema(file).names]
        with file.open(newline="", encoding="utf-8-sig") as lines:
            return next(csv.reader(lines), [])
    except Exception:  # a damaged file fails in Arrow with errors of many types
        return []
