"""Counts written down: every form holds the same numbers, and says how they were made."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.config.study import Averaging
from components.counting import results
from components.counting.count import Count
from components.runs.predictor import Predictor

COUNTS = [
    Count("a,b.jpg", None, None, 640, 480, 12.25, {"left": 4.25, "right": 8.0}, {"left": 0.5, "right": 2.0}),
    Count("cam.mp4", 25, 1.0, 64, 48, 3.5, {"left": 3.5, "right": 0.0}, {"left": 0.1, "right": 0.0}),
    Count("bad.jpg", error="bad.jpg: cannot be decoded"),
]


@pytest.fixture
def made(predictor: Predictor) -> dict:
    return results.provenance(predictor, Averaging(flip=True))


def lines(form: results.Form, made: dict) -> list[str]:
    return list(results.lines(form, iter(COUNTS), made, ["left", "right"], ground=True))


def test_provenance_names_the_weights_and_the_preprocessing(predictor: Predictor, made: dict) -> None:
    assert made["schema"] == 1
    assert made["weights"]["sha256"] == hashlib.sha256(predictor.file.read_bytes()).hexdigest()
    assert made["preprocessing"]["longest_side"] == 64
    assert made["precision"] == "fp32"
    assert made["averaging"] == {"flip": True, "scales": [1.0]}


def test_json_holds_everything(made: dict) -> None:
    document = json.loads("\n".join(lines("json", made)))
    assert document["provenance"] == made
    assert document["errors"] == 1
    assert [Count(**count) for count in document["counts"]] == COUNTS


def test_lines_of_json_are_the_counts(made: dict) -> None:
    assert [Count(**json.loads(line)) for line in lines("json-lines", made)] == COUNTS


def test_csv_has_a_row_for_each_count_and_a_column_for_each_zone(made: dict) -> None:
    first, second, third = csv.DictReader(lines("csv", made))
    assert (first["picture"], first["frame"], float(first["count"])) == ("a,b.jpg", "", 12.25)
    assert (float(second["people in left"]), float(second["per m2 in left"])) == (3.5, 0.1)
    assert (third["count"], third["error"]) == ("", "bad.jpg: cannot be decoded")
    assert {row["weights_sha256"] for row in (first, second, third)} == {made["weights"]["sha256"]}
    assert {row["precision"] for row in (first, second, third)} == {"fp32"}


def test_parquet_has_the_same_rows_and_how_they_were_made(tmp_path: Path, made: dict) -> None:
    results.write_parquet(tmp_path / "counts.parquet", COUNTS, made, ["left", "right"], ground=True)
    table = pq.read_table(tmp_path / "counts.parquet")
    assert json.loads(table.schema.metadata[b"dotfield"]) == made
    assert table.column("count").to_pylist() == [12.25, 3.5, None]
    assert table.column("people in right").to_pylist() == [8.0, 0.0, None]
    assert table.column("error").to_pylist()[2] == COUNTS[2].error


def test_a_person_reads_a_line_for_each_picture_that_was_counted(made: dict) -> None:
    assert lines("text", made) == [
        "      12.2  a,b.jpg; left 4.2 (0.50 per m2); right 8.0 (2.00 per m2)",
        "       3.5  cam.mp4 at 1.00 s; left 3.5 (0.10 per m2); right 0.0 (0.00 per m2)",
    ]
