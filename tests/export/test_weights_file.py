"""Weights in one file: half the size, counts of the rounded weights, and nothing that counting does not need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import dotfield
from components.errors import UserError
from components.export.export import export
from components.export.weights_file import WeightsFile
from components.runs.folder import Weights, read_weights
from components.runs.predictor import Predictor, load_predictor
from components.training.assemble import assemble
from tests import crowds

IMAGE = np.random.default_rng(0).integers(0, 255, (41, 66, 3), dtype=np.uint8)


def untrained(folder: Path, **counter: object) -> Weights:
    plan = crowds.plan(counter=counter)
    model = assemble(plan, 0)
    crowds.save_weights(folder / "seed-0", plan, model.state_dict(), model.stride, model.scale)
    return read_weights(folder / "seed-0/best.safetensors")


def test_half_precision_holds_the_counter_alone_and_counts_with_its_rounded_weights(run: Path, tmp_path: Path) -> None:
    facts = export(run, tmp_path / "counter.safetensors", half=True)
    theirs, ours = read_weights(tmp_path / "counter.safetensors"), read_weights(run / "best.safetensors")
    assert {name for name in ours.tensors if name.startswith("counter.")} == theirs.tensors.keys() < ours.tensors.keys()
    assert {each.dtype for each in theirs.tensors.values() if each.ndim > 1} == {torch.float16}
    assert {each.dtype for each in theirs.tensors.values() if each.ndim == 1} == {torch.float32}, "biases"
    assert ours.metadata.items() <= theirs.metadata.items()
    assert theirs.metadata["card"]["results"] == facts["results"]
    rounded = {name: each.half().float() if each.ndim > 1 else each for name, each in ours.tensors.items()}
    expected = Predictor(Weights(ours.file, ours.metadata, rounded)).density(IMAGE)
    assert np.array_equal(dotfield.load(tmp_path / "counter.safetensors").density(IMAGE), expected)
    assert not np.array_equal(load_predictor(run).density(IMAGE), expected)


def test_in_single_precision_it_counts_to_the_bit_what_the_run_counts(run: Path, tmp_path: Path) -> None:
    WeightsFile(half=False).write(tmp_path / "counter.safetensors", read_weights(run / "best.safetensors"))
    expected = load_predictor(run).density(IMAGE)
    assert np.array_equal(dotfield.load(tmp_path / "counter.safetensors").density(IMAGE), expected)


def test_what_half_precision_cannot_hold_stays_in_single_precision(tmp_path: Path) -> None:
    """A backbone with batch normalisation may have variances above 65,504."""
    weights = untrained(tmp_path, kind="mcnn")
    weights.tensors["counter.fuse.bias"] += 70_000
    WeightsFile(half=True).write(tmp_path / "half.safetensors", weights)
    tensors = read_weights(tmp_path / "half.safetensors").tensors
    assert tensors["counter.fuse.bias"].tolist() == weights.tensors["counter.fuse.bias"].tolist()
    assert tensors["counter.fuse.weight"].dtype == torch.float16


def test_the_light_counter_fits_in_six_megabytes(tmp_path: Path) -> None:
    weights = untrained(tmp_path, kind="efficientnet_lite", weights="random")
    WeightsFile(half=True).write(tmp_path / "half.safetensors", weights)
    assert 2 * 2_432_433 < (tmp_path / "half.safetensors").stat().st_size < 6e6


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("counter.pth", r"counter\.pth: its name must end in \.safetensors, \.onnx, \.pt2"),
        ("best.safetensors", r"best\.safetensors: is the run's own file; give the export another name"),
    ],
)
def test_names_that_cannot_be_written_are_refused(run: Path, name: str, message: str) -> None:
    before = (run / "best.safetensors").read_bytes()
    with pytest.raises(UserError, match=message):
        export(run, run / name)
    assert (run / "best.safetensors").read_bytes() == before
