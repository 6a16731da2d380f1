"""Ray Train around `fit`: one or many workers, CPU or GPU, gloo or NCCL, found by itself.

A run's name is the fingerprint of its params, data and code. Ray resumes a name by itself: after a killed worker, and
when the same run is asked for again after a killed driver. A changed run has another name and starts afresh."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.train
import torch
from pyarrow import fs
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device
from ray.util.queue import Queue
from torch import Tensor, distributed

from components.config.resolve import Plan
from components.errors import UserError
from components.training.assemble import assemble, samples
from components.training.fit import DivergedError, Record, State, World, fit

STATE = "state.pt"
SILENCE = 1.0  # seconds between two words about progress within an epoch
Progress = Callable[[float, Record | None], None]


class Group(World):
    """The workers of a Ray Train run."""

    def __init__(self) -> None:
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    def sum_(self, tensors: list[Tensor]) -> None:
        """One exchange for all tensors, end to end; tensors on the CPU travel by way of the device."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors]).to(get_device())
        distributed.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def gather(self, items: list) -> list:
        shares: list[Any] = [None] * self.size
        distributed.all_gather_object(shares, items)
        return [item for share in shares for item in share]

    def same_(self, tensors: list[Tensor]) -> None:
        for tensor in tensors:
            distributed.broadcast(tensor.data, src=0)


class _Trainer(TorchTrainer):
    """Ctrl-C stays Python's: Ray's own handler ends the process without a word, and stays on after the training."""

    def _register_sigint_handler(self, controller: Any) -> None:
        pass


@contextmanager
def cluster() -> Iterator[None]:
    """The Ray cluster that RAY_ADDRESS names, or one of this machine's own for the time of the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a thread that waits for others leaves its core to them
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # a busy machine needs more than Ray's 30
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")  # how soon Ray sees a report
    if ray.is_initialized():
        yield
        return
    _start()
    try:
        yield
    finally:
        ray.shutdown()


def _start() -> None:
    """Raises OSError: Ray is not to be reached, or did not start."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
        return
    try:
        ray.init("local", **quiet, include_dashboard=False, object_store_memory=2 * 10**8)
    except Exception as error:  # Ray raises just that where the machine is too busy to start it within 30 s
        what_to_do = "give the same command again when this machine is less busy"
        raise OSError(f"Ray did not start ({error}): {what_to_do}") from None


def train(
    plan: Plan, seed: int, prepared: Path, maps: Path, *, storage: str, name: str, progress: Progress
) -> tuple[State, str]:
    """Train one run, or go on with it; returns its last state, and what the counter started from.

    `storage` is a folder or any address that pyarrow opens, such as `s3://bucket/path`; `progress` hears of the epochs
    done so far, and of each epoch's record. Raises UserError for what a user can mend, if possible before Ray is
    asked, and ray.train.TrainingFailedError after three lost workers."""
    model = assemble(plan, seed)
    model.counter.start()
    samples(plan, seed, prepared, maps, model.stride)
    workers = plan.training.workers
    filesystem, root = opened(storage)
    with cluster(), _listening(progress) as (queue, mistakes):
        result = _Trainer(
            _work,
            train_loop_config={
                "plan": plan,
                "seed": seed,
                "root": Path.cwd(),
                "prepared": prepared.resolve(),
                "maps": maps.resolve(),
                "queue": queue,
            },
            scaling_config=_scaling(workers),
            run_config=RunConfig(
                name=name,
                storage_path=root,
                storage_filesystem=filesystem,
                checkpoint_config=CheckpointConfig(num_to_keep=2),
                failure_config=FailureConfig(max_failures=3),
            ),
        ).fit()
    if mistakes:
        raise UserError(mistakes[0])
    assert result.checkpoint is not None
    saved = read_state(result.checkpoint)
    return saved["state"], saved["started_from"]


def forget(storage: str, name: str) -> None:
    """Remove the state of what has ended: its results are elsewhere by now."""
    filesystem, root = opened(storage)
    filesystem.delete_dir(f"{root}/{name}")


def opened(storage: str) -> tuple[fs.FileSystem, str]:
    """The filesystem of an address or a folder, and the path on it. Raises UserError for another kind of address."""
    if "://" not in storage:
        return fs.FileSystem.from_uri(str(Path(storage).expanduser().resolve()))
    try:
        return fs.FileSystem.from_uri(storage)
    except pa.ArrowInvalid as error:
        raise UserError(f"DOTFIELD_STORAGE: {error}; give a folder, or an address such as s3://bucket/path") from None


def _scaling(workers: int) -> ScalingConfig:
    gpus = ray.cluster_resources().get("GPU", 0) >= workers
    resources = {"CPU": share_of_cpus(workers, "training.workers"), "GPU": int(gpus)}
    return ScalingConfig(num_workers=workers, use_gpu=gpus, resources_per_worker=resources)


def share_of_cpus(parts: int, option: str) -> int:
    """CPUs for each of `parts` workers or trials: of the whole cluster, but no more than its smallest node has.

    Raises UserError, which names the option, where there are more parts than CPUs."""
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    if sum(nodes) < parts:
        raise UserError(f"{option}: {parts} need as many CPUs; Ray has {sum(nodes)}")
    return max(1, min(sum(nodes) // parts, *(cpus for cpus in nodes if cpus)))


def _work(config: dict[str, Any]) -> None:
    """What each worker does."""
    os.chdir(config["root"])  # Ray changes it; a relative path in params means the same here as in the driver
    plan, seed, queue = config["plan"], config["seed"], config["queue"]
    torch.set_num_threads(max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1))))
    model = assemble(plan, seed)
    latest = ray.train.get_checkpoint()
    saved: dict[str, Any] = read_state(latest) if latest else {"state": None, "started_from": model.counter.start()}
    world = Group()

    def report(record: Record, state: State) -> None:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = None
            if world.rank == 0:
                torch.save(saved | {"state": state}, Path(folder) / STATE)
                checkpoint = Checkpoint.from_directory(folder)
                queue.put((record["epoch"], record))
            ray.train.report({"epoch": record["epoch"]}, checkpoint=checkpoint)

    told = time.monotonic()

    def tick(epochs: float) -> None:
        nonlocal told
        if world.rank == 0 and time.monotonic() - told > SILENCE:
            told = time.monotonic()
            queue.put((epochs, None))

    training, validation = samples(plan, seed, config["prepared"], config["maps"], model.stride)
    model.to(get_device())
    try:
        fit(model, training, validation, plan.training, report=report, state=saved["state"], world=world, tick=tick)
    except DivergedError as mistake:  # on every worker, and after every restart again: said once, not retried
        queue.put((None, str(mistake)))


def read_state(checkpoint: Any) -> dict[str, Any]:
    with checkpoint.as_directory() as folder:
        return torch.load(Path(folder) / STATE, map_location="cpu", weights_only=True)


@contextmanager
def _listening(progress: Progress) -> Iterator[tuple[Queue, list[str]]]:
    """A queue on the cluster whose messages reach `progress` here, and the mistakes that workers sent through it."""
    queue, mistakes = Queue(actor_options={"num_cpus": 0}), []

    def listen() -> None:
        while (message := queue.get()) is not None:
            epochs, said = message
            mistakes.append(said) if epochs is None else progress(epochs, said)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield queue, mistakes
    finally:
        queue.put(None)
        thread.join(timeout=60)
        queue.shutdown()
