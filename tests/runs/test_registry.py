"""Deployed counters: kept, put in use, rolled back, fetched."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dotfield
from components.errors import UserError
from components.runs import object_store
from components.runs.folder import read_weights, write_weights
from components.runs.registry import Registry
from tests.runs.registries import CARD, filled


def test_a_counter_is_kept_deployed_and_counts(address: str, run: Path, tmp_path: Path) -> None:
    registry = Registry(address)
    assert (registry.current(), registry.previous(), registry.history()) == (None, None, [])
    counter = registry.add(run, CARD)
    assert registry.add(run, "# Another card\n") == counter
    entry = registry.deploy(counter, {"outcome": "GO"}, None)
    again = Registry(address)
    used = again.current()
    assert used is not None
    assert (used.counter, used.entry, used.decision) == (counter, entry.number, {"outcome": "GO"})
    assert used.since == entry.time
    assert used.metadata["experiment"] == "made"
    assert again.card(counter) == CARD
    pixels = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    assert dotfield.load(again.weights(counter)).count(pixels) == dotfield.load(run).count(pixels)


def test_rolling_back_goes_back_and_never_forth(run: Path, tmp_path: Path) -> None:
    registry, (a, b, c) = filled(str(tmp_path / "registry"), run, tmp_path, "abc")
    registry.deploy(a, {}, None)
    registry.deploy(b, {}, a)
    registry.deploy(c, {}, b)
    assert registry.rollback("counts too high").decision["reason"] == "counts too high"
    assert (registry.current().counter, registry.previous().counter) == (b, a)
    registry.rollback("still")
    assert (registry.current().counter, registry.previous()) == (a, None)
    assert registry.current().metadata["experiment"] == "a"
    with pytest.raises(UserError, match="there is no previous counter"):
        registry.rollback("once more")
    registry.deploy(c, {}, a)
    assert registry.rollback("again").current.counter == a
    assert [entry.action for entry in registry.history()] == ["deploy"] * 3 + ["rollback"] * 2 + ["deploy", "rollback"]


def test_a_decision_that_deploys_nothing_changes_nothing(run: Path, tmp_path: Path) -> None:
    registry, (a, _) = filled(str(tmp_path / "registry"), run, tmp_path)
    assert registry.record({"outcome": "NO-GO"}).current is None
    registry.deploy(a, {}, None)
    before = registry.current()
    registry.record({"outcome": "INCONCLUSIVE"})
    assert registry.current() == before
    assert [entry.number for entry in registry.history()] == [1, 2, 3]
    assert registry.history()[2].decision == {"outcome": "INCONCLUSIVE"}


def test_who_compared_with_another_counter_does_not_deploy(address: str, run: Path, tmp_path: Path) -> None:
    registry, (a, b) = filled(address, run, tmp_path)
    registry.deploy(a, {}, None)
    with pytest.raises(UserError, match=f"{a[:12]} is in use, not no counter any more: somebody else was faster"):
        registry.deploy(b, {}, None)
    assert registry.deploy(a, {"again": True}, None) == registry.history()[0]  # it is in use: nothing is to be done
    assert len(registry.history()) == 1
    with pytest.raises(UserError, match="has no counter"):
        registry.deploy("0" * 64, {}, a)
    with pytest.raises(UserError, match="is not the hash of a counter"):
        registry.deploy("../../etc/passwd", {}, a)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(run: Path, tmp_path: Path, number: float) -> None:
    weights = read_weights(run)
    weights.tensors["counter.fuse.bias"][0] = number
    write_weights(tmp_path / "odd.safetensors", weights.tensors, weights.metadata)
    with pytest.raises(UserError, match=r"odd\.safetensors: holds numbers that are NaN or infinite \(counter\.fuse"):
        Registry(str(tmp_path / "registry")).add(tmp_path / "odd.safetensors", CARD)
    assert not (tmp_path / "registry").exists()


def test_weights_of_another_network_are_refused(run: Path, tmp_path: Path) -> None:
    weights = read_weights(run)
    write_weights(tmp_path / "odd.safetensors", {"counter.x": torch.zeros(1)}, weights.metadata)
    with pytest.raises(UserError, match="does not fit the counter mcnn"):
        Registry(str(tmp_path / "registry")).add(tmp_path / "odd.safetensors", CARD)


def test_weights_that_were_changed_are_noticed(address: str, run: Path, tmp_path: Path) -> None:
    registry = Registry(address)
    counter = registry.add(run, CARD)
    name = f"counters/{counter}/counter.safetensors"
    object_store.open_store(address).replace(name, run.read_bytes()[:-1] + b"\x01")
    with pytest.raises(UserError, match="is damaged: its SHA-256 is another"):
        registry.weights(counter)
    registry.add(run, CARD)
    assert registry.weights(counter).read_bytes() == run.read_bytes()


def test_a_counter_on_s3_is_fetched_once_and_again_where_the_copy_is_torn(
    s3: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    registry = Registry(f"s3://crowds/{uuid.uuid4().hex}")
    counter = registry.add(run, CARD)
    file = registry.weights(counter)
    file.write_bytes(b"torn")
    assert registry.weights(counter).read_bytes() == run.read_bytes()
    s3.delete_object(
        Bucket="crowds", Key=f"{registry.address.rpartition('/')[2]}/counters/{counter}/counter.safetensors"
    )
    assert registry.weights(counter) == file


def test_answers_about_held_out_images_are_counted(address: str) -> None:
    registry = Registry(address)
    assert [registry.count_answer("abc", {"outcome": "GO"}) for _ in range(3)] == [1, 2, 3]
    assert registry.count_answer("other", {}) == 1
