"""Ends what a killed command started: `python -m components.workspace.guard`, which `processes.guard` starts.

It reads process ids, one a line, until its standard input ends, which is when the command is gone however it ended."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

import psutil

from components.workspace.processes import end_processes

PATIENCE = 4.0  # seconds between TERM and KILL: the next command is not to find them still at work


def main() -> None:
    """End every process that was named and still runs, and all below it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    named: list[psutil.Process] = []
    for line in sys.stdin:
        with suppress(psutil.NoSuchProcess):
            named.append(psutil.Process(int(line)))
    left = [process for process in named if process.is_running()]  # of the same start, not only of the same id
    below = [child for process in left for child in _children(process)]
    end_processes([*left, *below], PATIENCE)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


if __name__ == "__main__":
    main()
