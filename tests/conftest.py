"""What tests share. Real photographs lie beside the project; tests that read them are skipped where they are absent."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import pytest
import torch
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from components import cli
from components.training.assemble import TrainingData, open_data
from tests import crowds

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data"

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")


def pytest_configure() -> None:
    """Shells start what they put into the background with SIGINT ignored, and what tests start would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: two workers, each with a file at a time, then end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """Eight made images of 48 x 64 px, 5 to train, 2 to validate, 1 to test, and their maps."""
    splits = ["train"] * 5 + ["val"] * 2 + ["test"]
    return open_data(*crowds.write(tmp_path_factory.mktemp("made"), [(48, 64)] * len(splits), splits))


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of an S3 server on loopback, at which the environment points, with one bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    S3FileSystem.clear_instance_cache()  # of the server of another module
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "test")
        client = boto3.client("s3")
        client.create_bucket(Bucket="crowds")
        yield client
    server.stop()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a name that is short enough for Ray's sockets."""
    with TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Make a disk of its own, of so many KiB, which can be full."""
    folder = tmp_path / "disk"

    def mount(size: int) -> Path:
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(folder)]
        if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount a small disk")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Type a command line: (exit code, standard output, standard error)."""

    def type_(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["dotfield", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return (end.value.code or 0, *capsys.readouterr())

    return type_


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real photographs, or a skip with the reason."""
    if not REAL.exists():
        pytest.skip(f"no real photographs at {REAL}")
    return REAL
