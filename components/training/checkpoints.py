"""Checkpoints that are known to be whole: a state, its SHA-256, and the newest one of a folder that agrees with it.

A file that was truncated, altered or lost is never gone on from: the one before it is, with a warning."""

from __future__ import annotations

import hashlib
import logging
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from pyarrow import fs

from components.errors import UserError
from components.workspace.environment import positive_number

STATE, CHECKSUM = "state.pt", "state.sha256"
PREFIX = "checkpoint_"  # of the folders' names, which Ray chooses: their order is that of their age
INTERVAL = "DOTFIELD_CHECKPOINT_SECONDS"
DEFAULT_INTERVAL = 600.0  # seconds: of a checkpoint that takes seconds, what is repeated after a failure costs more

log = logging.getLogger(__name__)


def open_filesystem(storage: str) -> tuple[fs.FileSystem, str]:
    """The filesystem of an address or a folder, and the path on it. Raises UserError for another kind of address."""
    if "://" not in storage:
        storage = Path(storage).expanduser().resolve().as_uri()
    try:
        filesystem, path = fs.FileSystem.from_uri(storage)
    except pa.ArrowInvalid as error:
        raise UserError(f"DOTFIELD_STORAGE: {error}; give a folder, or an address such as s3://bucket/path") from None
    return filesystem, str(path)


def checkpoint_seconds() -> float:
    """After how long without a checkpoint one is written within an epoch, by the environment.

    Raises UserError for what is not a number above 0."""
    return positive_number(INTERVAL, DEFAULT_INTERVAL, "seconds")


class DamagedError(Exception):
    """A checkpoint that is not what was written."""


def write_state(state: dict[str, Any], folder: Path) -> None:
    """Write a state, of what `torch.load(weights_only=True)` reads, and its checksum into a folder.

    Raises OSError, which names the folder, where its disk is full: torch itself would not say what is wrong."""
    content = BytesIO()
    torch.save(state, content)
    try:
        (folder / STATE).write_bytes(content.getbuffer())
        (folder / CHECKSUM).write_text(hashlib.sha256(content.getbuffer()).hexdigest())
    except OSError as error:
        error.filename = error.filename or str(folder)
        raise


def newest_state(filesystem: fs.FileSystem, folder: str, not_after: str | None = None) -> dict[str, Any] | None:
    """The state of the newest whole checkpoint in a folder, or None; `not_after` names the last that may be taken.

    Raises OSError where the storage cannot be read."""
    for name in checkpoint_names(filesystem, folder, not_after):
        try:
            return read_state(filesystem, f"{folder}/{name}")
        except DamagedError as error:
            log.warning("warning: a checkpoint is passed over, for the one before it: %s", error)
    return None


def checkpoint_names(filesystem: fs.FileSystem, folder: str, not_after: str | None = None) -> list[str]:
    """The folders of checkpoints in a folder, the newest first."""
    found = filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    names = [each.base_name for each in found if each.type == fs.FileType.Directory]
    chosen = [name for name in names if name.startswith(PREFIX) and (not_after is None or name <= not_after)]
    return sorted(chosen, reverse=True)


def read_state(filesystem: fs.FileSystem, folder: str) -> dict[str, Any]:
    """The state in one checkpoint's folder, on the CPU. Raises DamagedError where it is not what was written."""
    try:
        content = _read(filesystem, f"{folder}/{STATE}")
        expected = _read(filesystem, f"{folder}/{CHECKSUM}").decode(errors="replace")
    except FileNotFoundError as error:
        raise DamagedError(f"{folder}: a file is missing ({error})") from None
    if hashlib.sha256(content).hexdigest() != expected:
        raise DamagedError(f"{folder}/{STATE}: its SHA-256 is not that of {CHECKSUM}: it was truncated or altered")
    state: dict[str, Any] = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    return state


def _read(filesystem: fs.FileSystem, path: str) -> bytes:
    with filesystem.open_input_stream(path) as file:
        return bytes(file.readall())
