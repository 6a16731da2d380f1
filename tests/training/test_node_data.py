"""Data on nodes that share no disk: fetched once, checked, and the same training on two real nodes of a cluster."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from pyarrow import fs

from components.errors import UserError
from components.training import node_data
from components.training.assemble import TrainingData, open_data
from components.training.checkpoints import open_filesystem
from components.training.node_data import open_shared, share
from tests import crowds
from tests.training.test_ray_train import SIZES, SPLITS, plain, trained

CLUSTER = "127.0.0.1:1"  # at which nothing answers: only that there is one matters


@pytest.fixture
def made(tmp_path: Path) -> TrainingData:
    return open_data(*crowds.write(tmp_path / "project", SIZES, SPLITS))


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a node of a cluster."""
    monkeypatch.setenv("RAY_ADDRESS", CLUSTER)
    monkeypatch.setenv("DOTFIELD_CACHE", str(tmp_path / "node"))
    return tmp_path / "node"


@pytest.mark.parametrize("storage", ["folder", "s3://crowds/work"])
def test_a_node_fetches_the_data_once(made, node, storage, tmp_path, s3) -> None:
    filesystem, root = open_filesystem(storage if "://" in storage else str(tmp_path / storage))
    for _ in range(2):  # the second time nothing is copied
        shared = share(made, filesystem, root)
    shutil.rmtree(tmp_path / "project")  # the node does not have it
    with ThreadPoolExecutor(4) as workers:
        found = [*workers.map(open_shared, [shared] * 4)]
    assert {each.prepared_folder for each in found} == {node / shared.sha256 / "prepared"}
    filesystem.delete_dir(f"{root}/data")  # it is not asked again
    again = open_shared(shared)
    assert [row.id for row in again.prepared.rows] == [row.id for row in made.prepared.rows]
    assert all((again.maps[number] == made.maps[number]).all() for number in range(len(SIZES)))


def test_data_that_were_damaged_or_lost_are_refused(made, node, tmp_path) -> None:
    filesystem, root = open_filesystem(str(tmp_path / "storage"))
    shared = share(made, filesystem, root)
    pack = tmp_path / "storage/data" / shared.sha256 / "maps/data.npy"
    content = pack.read_bytes()
    pack.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"its SHA-256 is .* remove it: it is written again"):
        open_shared(shared)
    shutil.rmtree(tmp_path / "storage")
    with pytest.raises(UserError, match="DOTFIELD_STORAGE must be a folder or address that all nodes reach"):
        open_shared(shared)
    assert not (node / shared.sha256).exists()


def test_a_node_removes_what_was_not_used_for_longest_and_nothing_that_is_in_use(node, tmp_path, monkeypatch) -> None:
    """With room for two and a half of four data sets. A worker that ended uses nothing any more."""
    made = [open_data(*crowds.write(tmp_path / str(seed), [(48, 64)], ["train"], seed, people=9)) for seed in range(4)]
    shared = [share(each, *open_filesystem(str(tmp_path / "storage"))) for each in made]

    def cached() -> list[int]:
        return [number for number, each in enumerate(shared) if (node / each.sha256).exists()]

    for number in (0, 1):
        open_shared(shared[number])
    size = sum(file.stat().st_size for file in node.rglob("*"))
    monkeypatch.setenv("DOTFIELD_CACHE_GIB", str(1.25 * size / 2**30))
    (node / "of-others").mkdir()
    open_shared(shared[2])
    assert cached() == [0, 1, 2], "all are in use"
    node_data._mark_used.cache_clear()
    open_shared(shared[0])
    open_shared(shared[3])
    assert cached() == [0, 3]
    (node / shared[0].sha256).with_suffix(".unfinished").mkdir()  # of a worker that was killed
    node_data._mark_used.cache_clear()
    assert len(open_shared(shared[2]).prepared.rows) == 1
    assert cached() == [2, 3]
    assert (node / "of-others").exists()


def test_without_a_cluster_nothing_is_copied(made, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    shared = share(made, fs.LocalFileSystem(), str(tmp_path / "storage"))
    assert open_shared(shared).prepared_folder == tmp_path / "project/prepared"
    assert not (tmp_path / "storage").exists()


HIDING = ("unshare", "--mount", "--propagation", "private", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"')


def can_hide(folder: Path) -> bool:
    """Whether a process can be started that does not see a folder: root can, on Linux."""
    try:
        return subprocess.run([*HIDING, str(folder), "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def node_without(folder: Path, environment: dict[str, str], *options: str) -> Iterator[None]:
    """A Ray node that does not see a folder."""
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats", *options]
    with subprocess.Popen(
        [*HIDING, str(folder), *ray],
        cwd="/",
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert any("Ray runtime started" in line for line in process.stdout)
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


@pytest.mark.slow
def test_two_nodes_without_the_project_train_as_one_process_does(tmp_path, short_folder, monkeypatch) -> None:
    """To rounding. They see neither the prepared data nor this clone's working directory."""
    project = tmp_path / "project"
    project.mkdir()
    if not can_hide(project):
        pytest.skip("needs the right to mount: a node that shares no disk cannot be made here")
    made = crowds.write(project, SIZES, SPLITS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {
        "DOTFIELD_CACHE": str(tmp_path / "node"),
        "RAY_AUTH_MODE": "disabled",
        "RAY_raylet_start_wait_time_s": "120",
    }
    place = ("--temp-dir", str(short_folder))
    head = ("--head", "--port", address.rpartition(":")[2], "--num-cpus", "1", "--include-dashboard", "false", *place)
    second = ("--address", address, "--num-cpus", "1")
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.chdir(project)
    with node_without(project, environment, *head), node_without(project, environment, *second):
        plan = crowds.plan({"kind": "generated", "sigmas": [1, 4], "warm_up": 1}, epochs=2, workers=2)
        state = trained(plan, made, tmp_path / "storage")
    assert list((tmp_path / "node").glob("*/maps/data.npy"))
    alone = plain(crowds.plan({"kind": "generated", "sigmas": [1, 4], "warm_up": 1}, epochs=2), made)
    for name, weights in alone["model"].items():
        torch.testing.assert_close(state["model"][name], weights, rtol=1e-3, atol=1e-4)
