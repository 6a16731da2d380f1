"""Where the state of unfinished work is kept, and that only one process at a time works on it.

DVC deletes a stage's outputs before it runs, so what is needed to resume lies outside of them, under a fingerprint of
params, data and code: an interrupted stage goes on where it was, a changed one starts afresh."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from components.errors import UserError
from components.workspace.layout import STATE

WAIT = 30  # seconds for another process to let go: a stage whose parent died does so within two


def storage() -> str:
    """`DOTFIELD_STORAGE`: a folder, or an address such as s3://bucket/path that all nodes reach."""
    return os.environ.get("DOTFIELD_STORAGE", str(STATE))


@contextmanager
def exclusive_lock(name: str, wait: float = WAIT) -> Iterator[None]:
    """Hold the lock of this name during the block. Raises UserError where another process goes on holding it."""
    file = STATE / "locks" / f"{name}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(file, timeout=wait):
            yield
    except Timeout:
        raise UserError(f"another process works on this ({file} is held); end it, or wait") from None
