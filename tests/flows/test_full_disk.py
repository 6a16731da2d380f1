"""Nights on a disk that is full: whatever could not be written, nothing is lost, and nothing is done twice."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.workspace.atomic import read_lines
from components.workspace.layout import RETRAIN
from components.workspace.processes import format_error
from flows import night
from flows.night import Night
from tests.flows.conftest import FACTS, arrive

BLOCK = 4096  # bytes: what a file takes at least
STEP = 3 * BLOCK


def whole_night(candidate: Path) -> None:
    """From the inbox to the last file, but for what DVC and the stages do."""
    tonight = night.open_night(RETRAIN)
    with night.lock(tonight):
        ingested = night.ingest(tonight)
        if night.decided(tonight) is None:
            night.check(tonight, ingested)
            tonight.paths.card.write_text("# A counter\n")
            night.deploy(tonight, night.gate(tonight, candidate), FACTS, candidate)
        night.write_history(tonight)
        night.finish(tonight)


def what_is_kept(tonight: Night) -> tuple[bool, bool, bool]:
    """Whether there are pictures, counters, and a decision."""
    pictures, counters = tonight.raw.accepted.exists(), any(Path("registry/counters").rglob("*.safetensors"))
    return pictures, counters, bool(tonight.registry.history())


def test_each_night_on_a_full_disk_gets_a_little_further(
    mount_disk: Callable[[int], Path], weights_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The space that is left grows from none to enough: the disk is full once in every part of a night."""
    disk = mount_disk(4096)
    monkeypatch.chdir(disk)
    arrive()
    filler, size = disk / "filler", -(-weights_file.stat().st_size // BLOCK) * BLOCK
    filler.write_bytes(bytes(shutil.disk_usage(disk).free))
    kept, said = set(), ""
    while said is not None:
        tonight = night.open_night(RETRAIN)
        said = None
        try:
            whole_night(weights_file)
        except OSError as error:
            said = format_error(error)
        assert said is None or re.search("No space left on device.*: free some space, then give the same command", said)
        kept.add(found := what_is_kept(tonight))
        assert (tonight.registry.current() is not None) == found[2]
        free = shutil.disk_usage(disk).free
        with filler.open("ab") as file:  # what fails although there is some space are the weights, after an answer
            file.truncate(filler.stat().st_size - (STEP if free < STEP else size - free + BLOCK))
    assert night.is_done(tonight)
    assert kept == {(False, False, False), (True, False, False), (True, True, False), (True, True, True)}
    assert sorted(line["picture"] for line in read_lines(tonight.raw.accepted)) == [
        f"cam1-{number}.png" for number in range(3)
    ]
    assert [entry.action for entry in tonight.registry.history()] == ["deploy"]
    assert not tonight.paths.undecided.exists()
