"""Counts written down: lines for people, and JSON, CSV and Parquet for programs, each with how they were made.

Version 1 of the schema. A row has `picture`, `frame`, `seconds`, `width`, `height`, `count` and `error`, of which what
does not apply is empty; `people in NAME` and `per m2 in NAME` of each zone; in JSON these are the mappings `zones` and
`densities`. How the counts were made (`provenance`) stands in JSON beside the rows, in Parquet in the metadata of the
file under `dotfield`, and in CSV in the columns `weights_sha256`, `longest_side`, `precision` and `dotfield`."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import importlib.metadata
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from components.config.study import Averaging
from components.counting.count import Count
from components.errors import printable
from components.runs.predictor import Predictor

Form = Literal["text", "json", "json-lines", "csv"]

SCHEMA = 1
FIXED = ("picture", "frame", "seconds", "width", "height", "count")


def provenance(predictor: Predictor, averaging: Averaging) -> dict[str, Any]:
    """How counts are made: the counter's weights, how pictures are preprocessed, and the version of this package."""
    metadata = predictor.metadata
    return {
        "schema": SCHEMA,
        "dotfield": importlib.metadata.version("dotfield"),
        "weights": {
            "file": str(predictor.file),
            "sha256": hashlib.sha256(predictor.file.read_bytes()).hexdigest(),
            **{key: metadata.get(key) for key in ("study", "experiment", "seed")},
            "counter": metadata["counter"]["kind"],
        },
        "objects": metadata.get("objects"),
        "preprocessing": metadata["preprocessing"] | {"longest_side": predictor.longest_side},
        "precision": "bf16" if predictor.bf16 else "fp32",
        "averaging": averaging.model_dump(mode="json"),
    }


def lines(
    form: Form, counts: Iterable[Count], made: Mapping[str, Any], zones: Sequence[str], ground: bool
) -> Iterator[str]:
    """The counts as text, line by line as they come; "json" is one document at their end.

    `zones` and `ground` say which columns there are. For people, what could not be counted is not listed."""
    if form == "json":
        rows = [dataclasses.asdict(each) for each in counts]
        errors = sum(row["error"] is not None for row in rows)
        yield json.dumps({"provenance": made, "counts": rows, "errors": errors}, indent=2)
    elif form == "json-lines":
        yield from (json.dumps(dataclasses.asdict(each)) for each in counts)
    elif form == "csv":
        yield from _csv_lines(counts, made, zones, ground)
    else:
        yield from (_line(each) for each in counts if each.error is None)


def _line(count: Count) -> str:
    """ "123.4  photo.jpg", with the time of a frame and the people of each zone behind it."""
    place = "" if count.seconds is None else f" at {count.seconds:.2f} s"
    zones = [
        f"{name} {people:,.1f}" + (f" ({count.densities[name]:.2f} per m2)" if name in count.densities else "")
        for name, people in count.zones.items()
    ]
    return f"{count.count:10,.1f}  {printable(count.picture)}{place}" + "".join(f"; {each}" for each in zones)


def _csv_lines(counts: Iterable[Count], made: Mapping[str, Any], zones: Sequence[str], ground: bool) -> Iterator[str]:
    how = {
        "weights_sha256": made["weights"]["sha256"],
        "longest_side": made["preprocessing"]["longest_side"],
        "precision": made["precision"],
        "dotfield": made["dotfield"],
    }
    columns = [*FIXED, *_zone_columns(zones, ground), "error", *how]
    yield _csv_line(columns)
    for count in counts:
        row = _row(count) | how
        yield _csv_line([row.get(column) for column in columns])


def write_parquet(
    file: Path, counts: Sequence[Count], made: Mapping[str, Any], zones: Sequence[str], ground: bool
) -> None:
    """A Parquet file with a row for each count."""
    schema = pa.schema(
        [("picture", pa.string()), ("frame", pa.int64()), ("seconds", pa.float64()), ("width", pa.int32())]
        + [("height", pa.int32()), ("count", pa.float64())]
        + [(column, pa.float64()) for column in _zone_columns(zones, ground)]
        + [("error", pa.string())],
        metadata={"dotfield": json.dumps(made)},
    )
    pq.write_table(pa.Table.from_pylist([_row(count) for count in counts], schema), file)


def _zone_columns(zones: Sequence[str], ground: bool) -> list[str]:
    return [f"people in {name}" for name in zones] + [f"per m2 in {name}" for name in zones if ground]


def _row(count: Count) -> dict[str, Any]:
    fixed = {key: getattr(count, key) for key in (*FIXED, "error")}
    people = {f"people in {name}": value for name, value in count.zones.items()}
    return fixed | people | {f"per m2 in {name}": value for name, value in count.densities.items()}


def _csv_line(cells: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()
