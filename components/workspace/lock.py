"""Where unfinished work is kept, and that one process at a time works on it.

DVC deletes a stage's outputs before it runs, so what is needed to resume lies outside of them, under a fingerprint of
params, data and code: an interrupted stage goes on where it was, a changed one starts afresh."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from components.errors import UserError

LOCAL = Path(".dotfield")
WAIT = 30  # seconds for another process to let go: a stage whose parent died does so within two


def storage() -> str:
    """`DOTFIELD_STORAGE`: a folder, or an address such as s3://bucket/path that all nodes reach."""
    return os.environ.get("DOTFIELD_STORAGE", str(LOCAL))


@contextmanager
def alone(mark: str, wait: float = WAIT) -> Iterator[None]:
    """Hold a fingerprint's lock. Raises UserError where another process goes on holding it."""
    locks = LOCAL / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(locks / f"{mark}.lock", timeout=wait):
            yield
    except Timeout:
        raise UserError(f"another process works on this ({locks / mark}.lock is held); end it, or wait") from None
