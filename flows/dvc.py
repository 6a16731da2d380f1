"""DVC as the flows see it: the stages of a `dvc.yaml` in the order in which they can run, and a runner of single ones.

The list is always asked of DVC. A stage runs as `dvc repro -s` in a session of its own: killing DVC alone would leave
its command running, so whatever ends the flow ends all that the stage started."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import psutil
from dvc.exceptions import DvcException
from dvc.repo import Repo

from components.errors import UserError
from components.workspace import dvc_yaml
from components.workspace.dvc_output import is_from_dvc, is_hint
from components.workspace.layout import Layout
from components.workspace.processes import end_tree, guard, python_environment, wait_or_end

MISTAKE = "ERROR: "  # before what DVC cannot do
LAST_LINES = 30  # of a failed stage's output, kept for the error


class Stage(NamedTuple):
    name: str  # train@fixed
    address: str  # params/b/dvc.yaml:train@fixed, or the name alone for the dvc.yaml at the root
    after: tuple[str, ...]  # addresses of the stages whose outputs this one reads


class StageError(Exception):
    """A stage ended with an exit code other than 0, or was stopped. Its first line is the last that the stage itself
    said: lists of runs show no more."""


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


def needed(layout: Layout, *names: str) -> list[Stage]:
    """The stages of a study with these names, such as `train@fixed`, and all that they depend on, in their order.

    Raises UserError: see `stages`."""
    every = stages(dvc_yaml.write(layout))
    wanted = {stage.address for stage in every if stage.name in names}
    for stage in reversed(every):
        wanted |= {*stage.after} if stage.address in wanted else set()
    return [stage for stage in every if stage.address in wanted]


def require_remote(where: str) -> None:
    """Raises UserError where nothing can be pushed, since DVC has no default remote."""
    with Repo() as repo:
        if not repo.config["core"].get("remote"):
            raise UserError(f"{where}: DVC has no remote: set one with `dotfield remote ADDRESS`, or do not push")


def run(words: Sequence[str], log: Callable[[str], None]) -> None:
    """A command of DVC. Raises StageError: its first line is the first mistake that DVC names."""
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "--wait-for-lock", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_environment(1),
    ) as process:
        last = _stream(process, log)
        if code := wait_or_end(process):
            mistake = next((line for line in last.splitlines() if line.startswith(MISTAKE)), last)
            raise StageError(f"dvc {words[0]}: {mistake.removeprefix(MISTAKE)}\nexit code {code}; last lines:\n{last}")


class Runner:
    """Runs stages, `parallel` at the same time; `stop`, from another thread, ends those that run and lets no other
    one begin."""

    def __init__(self, parallel: int = 1) -> None:
        self._environment = _environment(parallel)
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def run(self, stage: Stage, log: Callable[[str], None]) -> None:
        """Run one stage if it is stale; `log` gets each line of output but DVC's hints. Raises StageError."""
        process = self._start(stage)
        try:
            last = _stream(process, log)
            code = process.wait()
        except BaseException:
            end_tree(process)
            raise
        finally:
            self._running.discard(process)
        if code:
            raise StageError(_describe(f"stage {stage.address}", code, last))

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
        for process in list(self._running):
            end_tree(process)

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
            guard(process.pid)
            self._running.add(process)
        return process


def _stream(process: subprocess.Popen[str], log: Callable[[str], None]) -> str:
    """Pass on what a stage says, without DVC's hints, until it ends; returns the last lines."""
    assert process.stdout is not None
    last: deque[str] = deque(maxlen=LAST_LINES)
    for line in process.stdout:
        if not line.strip() or is_hint(line):
            continue
        last.append(line.rstrip())
        log(last[-1])
    return "\n".join(last)


def _describe(what: str, code: int, last: str) -> str:
    """A failure in words: first the stage's own last line, which is the one before DVC's."""
    own = [line for line in last.splitlines() if not is_from_dvc(line)]
    reason = own[-1] if own else f"{what} said nothing"
    return f"{reason}\n{what} ended with exit code {code}; its last lines:\n{last}"


def _environment(parallel: int) -> dict[str, str]:
    """Lines of output as they come. Of several stages at the same time each gets its part of this machine's CPUs: every
    one starts a Ray that would otherwise take all, and threads that wait for a core take it from those that work."""
    share = max(1, (psutil.cpu_count() or 1) // parallel)
    parts = {"RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": share}), "OMP_NUM_THREADS": str(share)}
    return (parts if parallel > 1 else {}) | python_environment() | {"PYTHONUNBUFFERED": "1"}
