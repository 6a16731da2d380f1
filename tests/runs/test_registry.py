"""Deployed counters: what is in use is always known, whoever is killed, late, or faster."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import queue
import signal
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

import dotfield
from components.errors import UserError
from components.runs import object_store
from components.runs.folder import read_weights, write_weights
from components.runs.registry import Registry
from tests.runs.test_predictor import saved

CARD = "# A counter\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights file of an untrained counter."""
    return saved(tmp_path_factory.mktemp("run")).best


@pytest.fixture(params=["folder", "s3://"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A registry that does not exist yet; the working directory is a folder of its own."""
    monkeypatch.chdir(tmp_path)
    if request.param == "s3://":
        request.getfixturevalue("s3")
        return f"s3://crowds/{uuid.uuid4().hex}"
    return str(tmp_path / "the registry")


def variant(weights: Path, folder: Path, name: str) -> Path:
    """Another counter: the same one, with another bias."""
    source = read_weights(weights)
    tensors = source.tensors | {"counter.fuse.bias": source.tensors["counter.fuse.bias"] + len(name)}
    write_weights(folder / f"{name}.safetensors", tensors, source.metadata | {"experiment": name})
    return folder / f"{name}.safetensors"


def filled(address: str, weights: Path, folder: Path, names: str = "ab") -> tuple[Registry, list[str]]:
    """A registry with these counters, none of them deployed, and their hashes."""
    registry = Registry(address)
    return registry, [registry.add(variant(weights, folder, name * place), CARD) for place, name in enumerate(names, 1)]


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


def race(address: str, counter: str, ready: Any, outcomes: Any) -> None:
    registry = Registry(address)
    ready.wait()
    try:
        outcomes.put((counter, registry.deploy(counter, {}, None).number))
    except UserError as error:
        outcomes.put((counter, str(error)))


def test_of_two_who_deploy_at_once_one_does(address: str, run: Path, tmp_path: Path) -> None:
    """Two processes on a disk; two threads on S3, whose client must not be forked."""
    registry, counters = filled(address, run, tmp_path)
    ready: Any = threading.Barrier(2)
    outcomes: Any = queue.Queue()
    start: Any = threading.Thread
    if not address.startswith("s3"):
        forked = multiprocessing.get_context("fork")
        ready, outcomes, start = forked.Barrier(2), forked.Queue(), forked.Process
    racers = [start(target=race, args=(address, each, ready, outcomes)) for each in counters]
    for racer in racers:
        racer.start()
    said = dict(outcomes.get(timeout=60) for _ in racers)
    for racer in racers:
        racer.join()
    (winner,) = (counter for counter, result in said.items() if result == 1)
    assert registry.current().counter == winner
    assert [result for result in said.values() if result != 1] == [
        f"{address}: {winner[:12]} is in use, not no counter any more: somebody else was faster; compare with what is "
        "in use now, then try again"
    ]
    assert len(registry.history()) == 1


def killed_before(write: int, act: Callable[[], object]) -> None:
    """Run `act` in a process that is killed as it begins its `write`-th write to the disk."""
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        return
    replace, left = object_store.Folder.replace, [write]

    def counted(self: object_store.Folder, name: str, contents: bytes) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(self, name, contents)

    object_store.Folder.replace = counted  # type: ignore[method-assign]  # of the child alone
    act()
    os._exit(0)


@pytest.mark.parametrize(
    ("write", "deployed"), [(1, False), (2, True), (3, True)], ids=["ledger", "previous", "current"]
)
def test_a_deployment_that_was_killed_happened_or_did_not(
    run: Path, tmp_path: Path, write: int, deployed: bool
) -> None:
    registry, (a, b) = filled(str(tmp_path / "registry"), run, tmp_path)
    registry.deploy(a, {}, None)
    killed_before(write, lambda: registry.deploy(b, {}, a))
    deployed = write > 1
    expected = (b, a) if deployed else (a, None)
    found = registry.current(), registry.previous()
    assert tuple(each and each.counter for each in found) == expected
    for name, counter in zip(("current.json", "previous.json"), expected, strict=True):  # mended by the reading
        assert json.loads((tmp_path / "registry" / name).read_text())["counter"] == counter
    assert len(registry.history()) == 1 + deployed
    registry.deploy(b, {}, expected[0])  # the next night goes on untouched
    assert (registry.current().counter, registry.previous().counter) == (b, a)


@pytest.mark.parametrize("write", [1, 2], ids=["card", "weights"])
def test_a_counter_that_was_killed_while_added_is_added_again(run: Path, tmp_path: Path, write: int) -> None:
    registry = Registry(str(tmp_path / "registry"))
    killed_before(write, lambda: registry.add(run, CARD))
    counter = registry.add(run, CARD)
    assert registry.weights(counter).read_bytes() == run.read_bytes()
    assert registry.card(counter) == CARD


TORN = (b"", b'{"ledger": ', b"[]", b'{"ledger": 77}', b'{"ledger": "x"}', b"\xff")


def test_a_torn_pointer_is_mended_from_the_ledger(
    address: str, run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry, (a, b) = filled(address, run, tmp_path)
    registry.deploy(a, {}, None)
    registry.deploy(b, {}, a)
    store = object_store.open_store(address)
    for contents in TORN[:2] if address.startswith("s3") else TORN:
        store.replace("current.json", contents)
        caplog.clear()
        assert Registry(address).current().counter == b
        assert json.loads(store.read("current.json"))["counter"] == b
        ours = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        damaged = f"{address}/current.json: is damaged; the ledger says what is in use"
        assert ours == ([] if b"77" in contents else [damaged])


@pytest.mark.parametrize("damaged", ["", '{"number": 2}'])
def test_a_damaged_record_is_passed_over_and_what_is_in_use_stays(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: str
) -> None:
    registry, (a, b) = filled(str(tmp_path / "registry"), run, tmp_path)
    registry.deploy(a, {}, None)
    registry.deploy(b, {}, a)
    (tmp_path / "registry/ledger/00000002.json").write_text(damaged)
    assert (registry.current().counter, registry.previous().counter) == (b, a), "as the small files say"
    assert "00000002.json" in caplog.text or "entry 2 of the ledger is damaged" in caplog.text
    assert "current.json says what is in use" in caplog.text
    assert registry.record({}).number == 3
    assert (registry.current().counter, registry.previous().counter) == (b, a)
    assert [entry.number for entry in registry.history()] == [1, 3]
    assert registry.rollback("it was damaged").current.counter == a


@pytest.mark.parametrize("contents", [b"torn", None])
def test_of_a_damaged_record_without_its_small_files_the_one_before_counts(
    run: Path, tmp_path: Path, contents: bytes | None
) -> None:
    registry, (a, b) = filled(str(tmp_path / "registry"), run, tmp_path)
    registry.deploy(a, {}, None)
    registry.deploy(b, {}, a)
    (tmp_path / "registry/ledger/00000002.json").write_text('{"number": 2}')
    (tmp_path / "registry/previous.json").write_bytes(b"torn")
    assert (registry.current().counter, registry.previous()) == (b, None), "what is in use counts most"
    current = tmp_path / "registry/current.json"
    current.unlink() if contents is None else current.write_bytes(contents)
    assert registry.current().counter == a
    assert registry.deploy(b, {}, a).number == 3


def test_who_may_only_read_is_told_what_is_in_use(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry, (a, _) = filled(str(tmp_path / "registry"), run, tmp_path)
    registry.deploy(a, {}, None)
    (tmp_path / "registry/current.json").unlink()

    def refuse(*_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(object_store.Folder, "replace", refuse)
    assert registry.current().counter == a
    assert "could not be written" in caplog.text


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


def test_a_lost_answer_of_s3_is_not_a_lost_race(s3: Any, run: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """S3 has written the object, its answer is lost, and the repeated request finds it there."""
    monkeypatch.chdir(tmp_path)
    registry, (a, _) = filled(f"s3://crowds/{uuid.uuid4().hex}", run, tmp_path)
    create = object_store.Bucket.create

    def repeated(self: object_store.Bucket, name: str, contents: bytes) -> bool:
        create(self, name, contents)
        return create(self, name, contents)

    monkeypatch.setattr(object_store.Bucket, "create", repeated)
    assert registry.deploy(a, {}, None).number == 1
    assert len(registry.history()) == 1


def test_a_process_that_hangs_while_it_writes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "WAIT", 0.1)
    registry = Registry(str(tmp_path))
    with FileLock(tmp_path / ".lock"), pytest.raises(UserError, match=r"another process has been writing for 0\.1 s"):
        registry.record({})


def test_answers_about_held_out_images_are_counted(address: str) -> None:
    registry = Registry(address)
    assert [registry.count_answer("abc", {"outcome": "GO"}) for _ in range(3)] == [1, 2, 3]
    assert registry.count_answer("other", {}) == 1
