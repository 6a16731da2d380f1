"""The folder of a run: what is written is read again, and what is damaged, absent or of another version is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from components.errors import UserError
from components.runs.folder import COLUMNS, FORMAT, HEADER, read_record, read_weights, save_run
from components.workspace.layout import RunPaths

RECORD = {"format": FORMAT, "counter": {"kind": "mcnn"}, "stride": 4}
STATE = {
    "epoch": 2,
    "history": [{"epoch": 1, "loss": 3.0, "val_mae": 2.0}, {"epoch": 2, "loss": 1.0}],
    "best": {"epoch": 1, "model": {"counter.fuse.bias": torch.ones(1), "density_map.layers.0.bias": torch.zeros(2)}},
    "model": {"counter.fuse.bias": torch.full((1,), 2.0)},
}


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    paths = RunPaths(tmp_path / "seed-0")
    save_run(paths, RECORD, STATE)
    return paths


def test_a_weights_file_holds_the_record_and_which_epoch_it_is(run: RunPaths) -> None:
    best, last = read_weights(run.best), read_weights(run.last)
    assert best.metadata == RECORD | {"weights": "best", "epoch": 1}
    assert last.metadata == RECORD | {"weights": "last", "epoch": 2}
    assert last.tensors["counter.fuse.bias"].tolist() == [2.0]
    assert read_record(run) == RECORD


def test_the_tensors_of_a_part_have_its_own_names(run: RunPaths) -> None:
    weights = read_weights(run.best)
    assert {name: value.tolist() for name, value in weights.of("counter").items()} == {"fuse.bias": [1.0]}
    assert {*weights.of("density_map")} == {"layers.0.bias"}


def test_metrics_have_a_row_for_each_epoch_and_no_number_that_was_not_measured(run: RunPaths) -> None:
    head, first, second = run.metrics.read_text().splitlines()
    assert head == ",".join(COLUMNS)
    assert (first, second) == ("1,,,3.0,,,2.0,,,,", "2,,,1.0,,,,,,,")


def test_what_only_some_maps_measure_has_columns_after_the_others(tmp_path: Path) -> None:
    history = [{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 1.0, "share_1": 0.25, "share_16": 0.75}]
    save_run(RunPaths(tmp_path), RECORD, STATE | {"history": history})
    head, first, second = RunPaths(tmp_path).metrics.read_text().splitlines()
    assert head == ",".join([*COLUMNS, "share_1", "share_16"])
    assert (first, second) == ("1,,,3.0,,,,,,,,,", "2,,,1.0,,,,,,,,0.25,0.75")


def test_a_folder_without_a_finished_run_has_no_record(tmp_path: Path) -> None:
    assert read_record(RunPaths(tmp_path)) is None
    with pytest.raises(UserError, match=r"best\.safetensors: there is no such file: the run has not ended"):
        read_weights(RunPaths(tmp_path).best)


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_a_weights_file_that_is_cut_off_is_named(run: RunPaths, size: int) -> None:
    run.best.write_bytes(run.best.read_bytes()[:size])
    with pytest.raises(UserError, match=r"best\.safetensors: is damaged .*train the run again"):
        read_weights(run.best)


def test_a_damaged_record_is_named(run: RunPaths) -> None:
    run.record.write_text("{")
    with pytest.raises(UserError, match=r"run\.json: is damaged"):
        read_record(run)


def test_weights_of_others_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "theirs.safetensors")
    with pytest.raises(UserError, match=r"theirs\.safetensors: holds no metadata of dotfield"):
        read_weights(tmp_path / "theirs.safetensors")


def test_weights_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "newer.safetensors"
    save_file({"weight": torch.zeros(1)}, file, {HEADER: json.dumps({"format": FORMAT + 1})})
    with pytest.raises(UserError, match=rf"was written by a newer dotfield \(format {FORMAT + 1}\)"):
        read_weights(file)
