"""Ends a worker that hangs, after the stacks of its threads were sent on: Ray then starts it again."""

from __future__ import annotations

import faulthandler
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from types import TracebackType

from components.workspace.environment import positive_number

LIMIT = "DOTFIELD_HANG_SECONDS"
DEFAULT_LIMIT = 1800.0  # seconds: longer than any step, or count of one image, that is still worth waiting for


def hang_seconds() -> float:
    """How long a worker may do nothing, by the environment. Raises UserError for what is not a number above 0."""
    return positive_number(LIMIT, DEFAULT_LIMIT, "seconds")


class Watchdog:
    """A thread that ends this process, during the block, where `beat` was not called for `limit` seconds.

    `on_hang` gets the stacks of all threads first. Where that hangs too, or a library holds Python's lock so that no
    other thread can run, the process ends after twice the time, with the stacks on standard error."""

    def __init__(self, limit: float, on_hang: Callable[[str], None]) -> None:
        self.limit, self.on_hang = limit, on_hang
        self._last = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")

    def __enter__(self) -> Watchdog:
        self.beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def beat(self) -> None:
        """Something was done."""
        self._last = time.monotonic()

    def _watch(self) -> None:
        while not self._ended.wait(self.limit / 10):
            faulthandler.dump_traceback_later(2 * self.limit, exit=True, file=sys.__stderr__ or sys.stderr)
            if time.monotonic() - self._last > self.limit:
                self.on_hang(stacks())
                os._exit(1)


def stacks() -> str:
    """Where each thread of this process is."""
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read()
