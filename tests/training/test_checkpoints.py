"""Damaged checkpoints are never gone on from: the last whole one is, with a warning."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pyarrow import fs

from components.training.checkpoints import CHECKSUM, STATE, newest_state, write_state

LOCAL = fs.LocalFileSystem()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with three checkpoints, of epochs 1 to 3."""
    for epoch in (1, 2, 3):
        folder = tmp_path / f"checkpoint_{epoch:06d}"
        folder.mkdir()
        write_state({"state": {"epoch": epoch, "model": {"weight": torch.full((3,), float(epoch))}}}, folder)
    return tmp_path


def epoch(run: Path, **options: str) -> int | None:
    found = newest_state(LOCAL, str(run), **options)
    return found and found["state"]["epoch"]


def truncate(folder: Path) -> None:
    content = (folder / STATE).read_bytes()
    (folder / STATE).write_bytes(content[: len(content) // 2])


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / STATE).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / STATE).write_bytes(content)


def empty(folder: Path) -> None:
    (folder / STATE).write_bytes(b"")


def lose_the_checksum(folder: Path) -> None:
    (folder / CHECKSUM).unlink()


def lose_the_state(folder: Path) -> None:
    (folder / STATE).unlink()


def test_the_newest_checkpoint_is_taken(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert epoch(run) == 3
    assert caplog.text == ""
    assert epoch(run, not_after="checkpoint_000002") == 2
    shutil.rmtree(run / "checkpoint_000003")
    assert epoch(run) == 2
    assert epoch(run / "none") is None


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty, lose_the_checksum, lose_the_state])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    run: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(run / "checkpoint_000003")
    assert epoch(run) == 2
    assert f"passed over, for the one before it: {run}/checkpoint_000003" in caplog.text
    damage(run / "checkpoint_000002")
    damage(run / "checkpoint_000001")
    assert epoch(run) is None
