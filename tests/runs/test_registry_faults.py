"""Whoever is killed, late, or damages a file: what is in use is always known."""

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

import pytest
from filelock import FileLock

from components.errors import UserError
from components.runs import object_store
from components.runs.registry import Registry
from tests.runs.registries import CARD, filled


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
