"""A node that is taken away with notice, and one that is killed: the training goes on elsewhere, bit for bit."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import ray
import torch
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DRAIN_NODE_REASON_PREEMPTION

from components.training.assemble import assemble, open_data, samples
from components.training.checkpoints import newest_state, open_filesystem
from components.training.fit import fit
from tests import crowds
from tests.training.test_ray_train import SIZES, SPLITS, assert_same, trained, workers

pytestmark = pytest.mark.slow
AGENTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


def node_arguments(cpus: int) -> dict[str, int]:
    """Of a node. Ports that are chosen beforehand are not waited for, which a busy machine may do for too long."""
    arguments = {"num_cpus": cpus, "object_store_memory": 10**8}
    with ExitStack() as sockets:
        for name in AGENTS:
            free = sockets.enter_context(socket.socket())
            free.bind(("127.0.0.1", 0))
            arguments[name] = free.getsockname()[1]
    return arguments


def node_of_the_worker(nodes: Cluster) -> tuple[str, list[psutil.Process]]:
    """The id of the node on which the one worker is, and that node's raylet with all that it started."""
    [worker] = workers()
    raylet = worker.parent()
    assert raylet is not None
    [node] = [each for each in nodes.worker_nodes if each.all_processes["raylet"][0].process.pid == raylet.pid]
    return node.node_id, [raylet, *raylet.children(recursive=True)]


def drain(nodes: Cluster) -> None:
    """Say that the worker's node is taken away in two minutes."""
    node, _ = node_of_the_worker(nodes)
    deadline = int(1000 * (time.time() + 120))
    accepted, why_not = ray._raylet.GcsClient(address=nodes.address).drain_node(
        node, DRAIN_NODE_REASON_PREEMPTION, "as told", deadline
    )
    assert accepted, why_not


def test_a_training_goes_on_after_its_node_was_drained_and_after_the_next_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = crowds.write(tmp_path, SIZES, SPLITS)
    settings = {"RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.2", "RAY_raylet_start_wait_time_s": "120"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    nodes = Cluster(initialize_head=True, head_node_args=node_arguments(0) | {"include_dashboard": False})
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    monkeypatch.setenv("DOTFIELD_CACHE", str(tmp_path / "node"))
    plan = crowds.plan(epochs=30, batch_size=1)  # some epochs are left when the loss of the node is noticed
    heard, resumed, parts = [], [], []

    def fail(done: float, record: dict | None) -> None:
        if record is None:
            return
        heard.append(record["epoch"])
        if record["epoch"] == 2:
            drain(nodes)
        if record["epoch"] == 6 and heard.count(6) == 1:
            for process in node_of_the_worker(nodes)[1]:
                process.kill()

    def resume(history: list) -> None:
        found = newest_state(*open_filesystem(str(tmp_path / "storage/run")))
        resumed.append(len(history))
        parts.append(found and "part" in found["state"])

    try:
        for _ in range(3):
            nodes.add_node(**node_arguments(1))
        state = trained(plan, made, tmp_path / "storage", fail, resume)
    finally:
        ray.shutdown()
        nodes.shutdown()
    assert "warning: a node is to be taken away" in caplog.text
    assert parts[0], "it went on within an epoch"
    assert [heard.count(epoch) for epoch in range(1, 6)] == [1] * 5, "no step was repeated after the notice"
    assert len(resumed) >= 2
    torch.set_num_threads(1)
    model = assemble(plan, 0)
    alone = fit(model, *samples(plan, 0, open_data(*made), 4), plan.training, report=lambda record, state: None)
    assert_same(state, alone)
