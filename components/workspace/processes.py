"""How commands end: in one line for a user's mistake, with a traceback for ours, and together with what they started.

Used by the stages, the command line and the flows."""

from __future__ import annotations

import errno
import inspect
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO

import psutil

from components.errors import UserError
from components.workspace.layout import Layout

TRACEBACK = "DOTFIELD_TRACEBACK"  # environment variable: show the traceback of a user's mistake too
SHELLS = {"sh", "bash", "dash", "zsh", "fish"}
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
NO_PLACE = {errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
PATIENCE = 10.0  # seconds between TERM and KILL
SOON = 7.0  # seconds after INT or TERM in which a stage is to end by itself
STOPPED = "stopped; what is finished is kept"

FAILED, MISTAKE = 1, 2  # exit codes
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM

_abandoned = threading.Lock()


class Terminated(SystemExit):
    """TERM asked this process to end."""


def run_stage(stage: Callable[..., None], *entries: str) -> None:
    """Run `python -m components.stages.<stage> STUDY [ENTRY]`: `stage` gets the study's layout and the entries' names.

    What it logs goes to the terminal and to a file of its own."""
    name = inspect.getmodulename(inspect.getfile(stage)) or ""  # not __module__: under `python -m` that is __main__
    if len(sys.argv) != 2 + len(entries):
        sys.exit(f"usage: python -m components.stages.{name} {' '.join(each.upper() for each in ('study', *entries))}")
    study, *names = sys.argv[1:]
    layout = Layout(study)
    end_with_parent()
    end_soon_after_signals(name)

    def command() -> None:
        configure_logging(layout.log(name, *names))
        stage(layout, *names)

    call(name, command)


def call(name: str, command: Callable[[], object]) -> None:
    """Run a command, and end this process as the command ended.

    A `UserError`, and a disk or a permission that the machine refuses, is one line on standard error and exit code 2;
    Ctrl-C is one line and 130, TERM one line and 143. Any other exception is a bug: a traceback and exit code 1."""
    try:
        command()
    except (KeyboardInterrupt, Terminated) as ending:
        sys.stderr.write(f"{name}: {STOPPED}\n")
        sys.exit(INTERRUPTED if isinstance(ending, KeyboardInterrupt) else TERMINATED)
    except Exception as error:
        text = format_error(error)
        if text is None or os.environ.get(TRACEBACK):
            raise
        sys.stderr.write(f"{name}: {text}\n")
        sys.exit(MISTAKE)


def format_error(error: Exception) -> str | None:
    """What a user reads of an error that he can correct; None for any other."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return f"{error}: free some space, then give the same command again; what is finished is kept"
    if isinstance(error, OSError) and error.errno in REFUSED:
        return f"{error}: make it readable and writable for this user, then give the same command again"
    if isinstance(error, OSError) and error.errno in NO_PLACE:
        return f"{error}: name another file or folder"
    return None


def configure_logging(file: Path | None = None, stream: TextIO | None = None) -> None:
    """Send what the project logs to a stream, by default standard output, and with times and levels to a file."""
    root = logging.getLogger()
    root.setLevel(logging.WARNING)  # of other libraries
    for ours in ("components", "__main__"):  # under `python -m` a stage's own module is __main__
        logging.getLogger(ours).setLevel(logging.INFO)
    terminal = logging.StreamHandler(stream or sys.stdout)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    root.handlers = [terminal]
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        written = logging.FileHandler(file)
        written.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.addHandler(written)


def end_with_parent() -> None:
    """End this process when the one that asked for it is gone: a killed `dvc repro` leaves its commands running."""
    parent = psutil.Process().parent()
    while parent and parent.name() in SHELLS and parent.parent():
        parent = parent.parent()
    if parent is None or parent.pid == 1:
        return

    def watch() -> None:
        while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
            time.sleep(1)
        abandon("the process that started this stage is gone: stopping", TERMINATED)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()


def exit_on_sigterm() -> None:
    """Let TERM end this process as an exception does, so that what it started is ended too."""
    signal.signal(signal.SIGTERM, _raise_terminated)


def end_soon_after_signals(name: str) -> None:
    """Let INT and TERM end this process as an exception does, or after `SOON` seconds without more ado: a library that
    catches the exception, or waits for its workers, does not hold up the end."""

    def end(number: int, frame: FrameType | None) -> None:
        code = INTERRUPTED if number == signal.SIGINT else TERMINATED
        timer = threading.Timer(SOON, abandon, (f"{name}: {STOPPED}", code))
        timer.daemon = True
        timer.start()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        _raise_terminated()

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as of what a shell starts in the background
            signal.signal(number, end)


def abandon(reason: str, code: int) -> NoReturn:
    """End this process at once, from any thread, and all that it started: one line on standard error, and no more."""
    _abandoned.acquire()  # for good: the first reason is the one that is said
    sys.stderr.write(f"{reason}\n")
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries say of the processes that end now
    end_processes(psutil.Process().children(recursive=True), patience=1.0)
    os._exit(code)


def _raise_terminated(*_: object) -> NoReturn:
    raise Terminated(TERMINATED)


def wait_or_end(
    process: subprocess.Popen[str] | subprocess.Popen[bytes], on_line: Callable[[str], None] | None = None
) -> int:
    """The exit code of a child process; whatever ends the waiting ends the child and all that it started.

    `on_line` gets each line that a child with its standard output on a text pipe writes, without its line end."""
    try:
        if on_line is not None:
            assert process.stdout is not None
            for line in process.stdout:
                on_line(str(line).rstrip("\n"))
        return process.wait()
    except BaseException as ending:
        if isinstance(ending, KeyboardInterrupt):  # a terminal's Ctrl-C reached the child too, which ends in order
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
        end_tree(process)
        raise


def end_tree(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """TERM to a child process and everything below it; KILL to what is left of them after `PATIENCE` seconds."""
    with suppress(psutil.NoSuchProcess):
        tree = psutil.Process(process.pid).children(recursive=True)
        with suppress(ProcessLookupError):
            process.terminate()
        _signal(tree, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=PATIENCE)
        _, left = psutil.wait_procs(tree, timeout=PATIENCE)
        _signal(left, signal.SIGKILL)
        if process.poll() is None:
            process.kill()
    process.wait()


def end_processes(processes: list[psutil.Process], patience: float) -> None:
    """TERM to processes; KILL to those that are left after `patience` seconds."""
    _signal(processes, signal.SIGTERM)
    _, left = psutil.wait_procs(processes, timeout=patience)
    _signal(left, signal.SIGKILL)


def guard(pid: int) -> None:
    """Have a process and all below it ended when this one is gone, even by KILL; what has ended by then is left alone.

    Another process waits for that (`components/workspace/guard.py`): it sees the end of a pipe from this one."""
    pipe = _guard().stdin
    assert pipe is not None
    with suppress(BrokenPipeError):  # the guard was ended: nothing more can be done
        pipe.write(f"{pid}\n")
        pipe.flush()


@cache
def _guard() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "components.workspace.guard"]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )


def python_environment() -> dict[str, str]:
    """The environment for commands that say `python`, as `dvc.yaml` does: this Python comes first on PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quiet = {"DVC_NO_ANALYTICS": "1", "RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1"}
    return os.environ | quiet | {"PATH": path}


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
