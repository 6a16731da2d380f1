"""`dotfield export` as it is typed: what it prints, and one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_it_prints_the_file_and_its_errors_on_each_part(run: Path, tmp_path: Path, typed) -> None:
    code, out, _ = typed("export", run, tmp_path / "new/counter.safetensors", "--half")
    first, validation, test = out.splitlines()
    assert code == 0
    assert first == "counter.safetensors: weights in half precision, 0.28 MB; the model card is beside it"
    assert validation.startswith("validation, 2 images: MAE ")
    assert test.startswith("test, 2 images: MAE ")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "counter.safetensors",
        "counter.safetensors.md",
    ]


def test_programs_read_the_facts_of_the_file(run: Path, tmp_path: Path, typed) -> None:
    code, out, _ = typed("export", run, tmp_path / "counter.safetensors", "--half", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["file"]["name"] == "counter.safetensors"
    assert [row["images"] for row in document["results"]] == ["validation", "test"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["c.onnx", "--half"], "c.onnx: --half is for weights (.safetensors); leave it out"),
        (["c.safetensors", "--input", "uint8"], "c.safetensors: --input is for networks (.onnx, .pt2); leave it out"),
        (["c.pth"], "c.pth: its name must end in .safetensors, .onnx, .pt2"),
        (["c.pt2", "--data", "nowhere"], "nowhere: nowhere is not prepared yet"),
    ],
)
def test_a_mistake_is_one_line(run: Path, typed, words: list[str], message: str) -> None:
    code, out, error = typed("export", run, *words)
    assert (code, out) == (2, "")
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_run_that_is_not_there_is_named(tmp_path: Path, typed) -> None:
    code, _, error = typed("export", tmp_path / "seed-0", tmp_path / "counter.safetensors")
    assert code == 2
    assert "seed-0: there is no such file: the run has not ended; train it first" in error
