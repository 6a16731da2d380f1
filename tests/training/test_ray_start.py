"""Ray that does not start, or that is not to be reached, says why; only a time-out advises patience."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import ray
from ray.exceptions import AuthenticationError

from components.errors import UserError
from components.training.ray_cluster import cluster
from tests.conftest import ROOT

START = "from components.training.ray_cluster import cluster\n"
START += "from components.workspace.processes import call\n"
START += "def start():\n    with cluster():\n        print('started')\n"
START += "call('train', start)\n"

HOLD = """
import time
from components.training.ray_cluster import cluster
from components.workspace.processes import call, end_soon_after_signals
def hold():
    with cluster():
        print("started", flush=True)
        time.sleep(600)
end_soon_after_signals("train")
call("train", hold)
"""


def started(environment: dict[str, str], timeout: float = 250) -> subprocess.CompletedProcess[str]:
    """Start Ray in a process of its own with these environment variables."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")} | environment
    command = [sys.executable, "-c", START]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.mark.slow
def test_a_long_tmpdir_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / ("batch-" * 12)
    folder.mkdir()
    done = started({"TMPDIR": str(folder)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("started\n")


@pytest.mark.slow
def test_a_home_that_cannot_be_written_is_the_cause_that_is_named() -> None:
    done = started({"HOME": "/proc/nobody"})
    assert done.returncode == 2
    assert done.stderr.startswith("train: Ray did not start ([Errno 2] No such file or directory: '/proc/nobody'")
    assert "set HOME to a folder that can be written" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_address_at_which_nothing_answers_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=rf"RAY_ADDRESS={address}: nothing answers there"), cluster():
        pass


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (Exception("The current node timed out during startup."), "again when this machine is less busy"),
        (AuthenticationError("InvalidAuthToken"), "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"),
        (RuntimeError("bind: Address already in use"), "end what listens on that port"),
        (OSError("validate_socket_filename failed: AF_UNIX path length cannot exceed"), "set RAY_TMPDIR to a folder"),
        (OSError(errno.EACCES, "Permission denied", str(Path.home() / ".ray/auth_token")), "set HOME to a folder"),
        (OSError(errno.EROFS, "Read-only file system", "/readonly/ray"), "or set RAY_TMPDIR to another folder"),
        (RuntimeError("raylet crashed"), "session_latest/logs below RAY_TMPDIR"),
    ],
)
def test_a_cause_has_its_own_remedy(error: Exception, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*address: str, **options: object) -> None:
        raise error

    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UserError, match=remedy) as caught, cluster():
        pass
    assert ("less busy" in str(caught.value)) == ("timed out" in str(error))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ended", "code", "said"),
    [
        ("raylet", 2, "Ray's node manager (raylet) ended, killed or for lack of memory; the same command goes on"),
        (None, 143, "train: stopped; what is finished is kept"),
    ],
)
def test_the_loss_of_ray_and_term_are_one_line_each_and_leave_no_process(
    ended: str | None, code: int, said: str
) -> None:
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLD], cwd=ROOT, start_new_session=True, **streams) as stage:
        assert stage.stdout
        assert stage.stderr
        assert stage.stdout.readline() == "started\n"
        below = psutil.Process(stage.pid).children(recursive=True)
        if ended is None:
            stage.terminate()
        else:
            [process] = [each for each in below if each.name() == ended]
            process.kill()
        text = stage.stderr.read()
    assert text.startswith(said)
    assert text.count("\n") == 1
    assert stage.returncode == code
    _, left = psutil.wait_procs(below, timeout=30)
    assert not left
