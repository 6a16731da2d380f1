"""DVC as the flows see it: the stages of a `dvc.yaml` in the order in which they can run, and a runner of single ones.

The list is always asked of DVC. A stage runs as `dvc repro -s` in a session of its own: killing DVC alone would leave
its command running, so whatever ends the flow ends the stage's whole process group."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import psutil
from dvc.exceptions import DvcException
from dvc.repo import Repo

from components.errors import UserError

LAST_LINES = 30  # of a failed stage's output, kept for the error
PATIENCE = 10.0  # seconds between TERM and KILL


class Stage(NamedTuple):
    name: str  # train@fixed
    address: str  # params/b/dvc.yaml:train@fixed, or the name alone for the dvc.yaml at the root
    after: tuple[str, ...]  # addresses of the stages whose outputs this one reads


class StageError(Exception):
    """A stage ended with an exit code other than 0, or was stopped."""


def stages(pipeline: Path) -> list[Stage]:
    """Every stage of one `dvc.yaml`, each after those that it depends on. Raises UserError with what DVC refuses."""
    try:
        with Repo() as repo:
            needs = {stage: list(repo.index.graph.successors(stage)) for stage in repo.stage.collect(str(pipeline))}
    except DvcException as error:
        raise UserError(f"{pipeline}: {error}") from None
    order = TopologicalSorter(needs).static_order()
    return [
        Stage(stage.name, stage.addressing, tuple(need.addressing for need in needs[stage]))
        for stage in order
        if stage in needs
    ]


class Runner:
    """Runs stages, `parallel` at the same time; `stop`, from another thread, ends those that run and lets no other
    one begin."""

    def __init__(self, parallel: int = 1) -> None:
        self._environment = _environment(parallel)
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def run(self, stage: Stage, tell: Callable[[str], None]) -> None:
        """Run one stage if it is stale; `tell` gets each line of output. Raises StageError with the last lines."""
        process = self._start(stage)
        try:
            last = _stream(process, tell)
            code = process.wait()
        except BaseException:
            end(process)
            raise
        finally:
            self._running.discard(process)
        if code:
            raise StageError(f"stage {stage.address} ended with exit code {code}; its last lines:\n{last}")

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
        for process in list(self._running):
            end(process)

    def _start(self, stage: Stage) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopped:
                raise StageError(f"stage {stage.address} was not started: the flow is being stopped")
            process = subprocess.Popen(
                [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "-s", stage.address],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
                env=self._environment,
            )
            self._running.add(process)
        return process


def end(process: subprocess.Popen[str]) -> None:
    """TERM to the process group and its whole tree, after `PATIENCE` seconds KILL to what is left of them."""
    with suppress(psutil.NoSuchProcess):
        below = psutil.Process(process.pid).children(recursive=True)
        _signal(process, below, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=PATIENCE)
        _, left = psutil.wait_procs(below, timeout=PATIENCE)
        _signal(process, left, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[str], below: list[psutil.Process], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    for member in below:
        with suppress(psutil.NoSuchProcess):
            member.send_signal(number)


def _stream(process: subprocess.Popen[str], tell: Callable[[str], None]) -> str:
    assert process.stdout is not None
    last: deque[str] = deque(maxlen=LAST_LINES)
    for line in filter(str.strip, process.stdout):
        last.append(line.rstrip())
        tell(last[-1])
    return "\n".join(last)


def _environment(parallel: int) -> dict[str, str]:
    """This Python first on PATH, since `dvc.yaml` says `python`, and its lines as they come. Of several stages at the
    same time each has its part of this machine's CPUs: every one starts a Ray that would otherwise take all."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    part = {"RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": max(1, (psutil.cpu_count() or 1) // parallel)})}
    return os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"} | (part if parallel > 1 else {})
