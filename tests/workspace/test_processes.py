"""How commands end: one line for a user's mistake, a traceback for a bug, and what was started ends too."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from components.errors import UserError
from components.workspace import processes
from components.workspace.layout import Layout
from tests.conftest import ROOT


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Run a stage that raises this: (exit code, standard error)."""

    def end(error: BaseException) -> tuple[object, str]:
        def stage(layout: Layout) -> None:
            raise error

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["test_processes", "demo"])
        monkeypatch.setattr(processes, "end_with_parent", lambda: None)
        monkeypatch.setattr(processes, "end_soon_after_signals", lambda name: None)
        with pytest.raises(SystemExit) as end:
            processes.run_stage(stage)
        return end.value.code, capsys.readouterr().err

    return end


def test_a_users_mistake_is_one_line(ended: Callable) -> None:
    assert ended(UserError("training.crop: 3")) == (2, "test_processes: training.crop: 3\n")


def test_a_full_disk_is_one_line_that_says_what_to_do(ended: Callable) -> None:
    code, text = ended(OSError(errno.ENOSPC, "No space left on device", "out/data.npy"))
    assert code == 2
    assert text.startswith("test_processes: [Errno 28] No space left on device: 'out/data.npy': free some space, then")
    assert text.count("\n") == 1


def test_a_folder_that_may_not_be_written_is_one_line(ended: Callable) -> None:
    code, text = ended(PermissionError(errno.EACCES, "Permission denied", "out"))
    assert code == 2
    assert "Permission denied: 'out': make it readable and writable" in text


def test_a_name_that_cannot_be_a_file_is_one_line(ended: Callable, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / ("long" * 100)):
        with pytest.raises(OSError, match=r"directory|too long") as refused:
            place.read_bytes()
        code, text = ended(refused.value)
        assert (code, text.count("\n")) == (2, 1)
        assert f"{place}': name another file or folder" in text


def test_ctrl_c_is_one_line(ended: Callable) -> None:
    assert ended(KeyboardInterrupt()) == (130, "test_processes: stopped; what is finished is kept\n")


@pytest.mark.parametrize("bug", [ValueError("operands could not be broadcast together"), KeyError("x"), OSError("?")])
def test_a_bug_is_a_traceback(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def stage() -> None:
        raise bug

    with pytest.raises(type(bug)):
        processes.call("stage", stage)


def test_a_bug_ends_with_exit_code_1_and_its_traceback(tmp_path: Path) -> None:
    code = "from components.workspace.processes import call\nimport numpy as np\n"
    code += "call('evaluate', lambda: np.ones(2) + np.ones(3))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert "operands could not be broadcast together" in done.stderr


def test_the_traceback_of_a_mistake_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def stage() -> None:
        raise UserError("training.crop: 3")

    monkeypatch.setenv(processes.TRACEBACK, "1")
    with pytest.raises(UserError):
        processes.call("stage", stage)


def test_a_wrong_number_of_names_says_how_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train", "demo"])
    with pytest.raises(SystemExit, match=r"usage: python -m components\.stages\.test_processes STUDY EXPERIMENT"):
        processes.run_stage(lambda layout, name: None, "experiment")


def test_what_a_stage_logs_is_shown_and_kept(tmp_path: Path, monkeypatch, capsys) -> None:
    def stage(layout: Layout, name: str) -> None:
        processes.logging.getLogger("components.stages.train").warning("epoch 3 of %s", name)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train", "demo", "fixed"])
    monkeypatch.setattr(processes, "end_with_parent", lambda: None)
    monkeypatch.setattr(processes, "end_soon_after_signals", lambda name: None)
    processes.run_stage(stage, "experiment")
    assert capsys.readouterr().out == "epoch 3 of fixed\n"
    [line] = (tmp_path / ".dotfield/logs/demo/test_processes-fixed.log").read_text().splitlines()
    assert line.endswith("WARNING components.stages.train: epoch 3 of fixed")


def test_a_stage_that_runs_as_a_command_shows_what_it_logs(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "params/demo", tmp_path / "params/demo")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    command = [sys.executable, "-m", "components.stages.resolve", "demo"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "params/demo/study.yaml: 1 datasets, 2 maps, 5 experiments, 2 searches\n"


def test_what_ends_the_waiting_ends_the_whole_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    child += f"open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid)); p.wait()"
    process = subprocess.Popen([sys.executable, "-c", child])
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.05)
    grandchild = psutil.Process(int((tmp_path / "pid").read_text()))
    monkeypatch.setattr(process, "wait", lambda timeout=None: _end(process, timeout))
    with pytest.raises(SystemExit):
        processes.wait_or_end(process)
    assert process.poll() is not None
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


def _end(process: subprocess.Popen, timeout: float | None) -> int:
    """The first wait is cut off; the others wait."""
    if timeout is None and process.poll() is None and not getattr(process, "cut", False):
        process.cut = True
        raise SystemExit(143)
    return subprocess.Popen.wait(process, timeout)


def test_each_line_of_a_child_is_passed_on_before_its_exit_code() -> None:
    code = "import sys; print('one'); print('two'); sys.exit(3)"
    lines: list[str] = []
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert processes.wait_or_end(process, lines.append) == 3
    assert lines == ["one", "two"]


KILLED = """
import subprocess, sys, time
from components.workspace.processes import guard
process = subprocess.Popen(["sh", "-c", "sleep 600 & echo $$ $!; wait"])
guard(process.pid)
time.sleep(600)
"""


def test_what_a_killed_command_started_is_ended_too() -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], cwd=ROOT, stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout
        started = [psutil.Process(int(pid)) for pid in command.stdout.readline().split()]
        until_guarded(command.pid)
        command.kill()
    _, left = psutil.wait_procs(started, timeout=30)
    assert not left


def until_guarded(pid: int) -> None:
    while not any("components.workspace.guard" in each.cmdline() for each in psutil.Process(pid).children()):
        time.sleep(0.05)


STUBBORN = """
import sys, time
from components.workspace import processes
def command():
    print("ready", flush=True)
    while True:
        try:
            time.sleep(600)
        except BaseException:
            if sys.argv[1] == "obeys":
                raise
processes.SOON = 0.2
processes.end_soon_after_signals("search")
processes.call("search", command)
"""


@pytest.mark.parametrize("manner", ["obeys", "ignores"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stage_ends_soon_after_a_signal_in_one_line(number: int, manner: str) -> None:
    """Also where something catches the exception that the signal raises."""
    command, streams = [sys.executable, "-c", STUBBORN, manner], {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **streams) as stage:
        assert stage.stdout
        assert stage.stderr
        assert stage.stdout.readline() == "ready\n"
        stage.send_signal(number)
        assert stage.stderr.read() == "search: stopped; what is finished is kept\n"
    assert stage.returncode == 128 + number
