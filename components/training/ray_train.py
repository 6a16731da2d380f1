"""Ray Train around `fit`: one or many workers, CPU or GPU, gloo or NCCL, found by itself.

A run's name is the fingerprint of its params, data and code. Ray resumes a run of the same name by itself: after a
killed worker and, when it is started again, after a killed driver. A changed run has another name and starts afresh."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import ray
import ray.train
import torch
from pyarrow import fs
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device
from ray.train.v2._internal.execution.context import get_train_context
from torch import Tensor, distributed

from components.config.resolve import Plan, read_plan
from components.errors import UserError
from components.runs.provenance import check_code, code_sha256
from components.training.assemble import TrainingData, assemble, load_start, samples
from components.training.checkpoints import (
    checkpoint_names,
    checkpoint_seconds,
    newest_state,
    open_filesystem,
)
from components.training.epoch import Communicator, Record
from components.training.fit import DivergedError, State, fit
from components.training.node_data import enter, open_shared, share
from components.training.ray_cluster import cluster, explaining, share_of_cpus
from components.training.ray_reports import OnProgress, Reports, listening
from components.training.watchdog import Watchdog, hang_seconds
from components.workspace.layout import diverged_batch

SNAPSHOT = "checkpoint_manager_snapshot.json"  # Ray Train's own list of a run's checkpoints
FAILURES = 3  # times that workers may be lost, or fail to write a checkpoint, and are started again

log = logging.getLogger(__name__)


class RayCommunicator(Communicator):
    """The workers of a Ray Train run."""

    def __init__(self) -> None:
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    def all_reduce_(self, tensors: list[Tensor]) -> None:
        """One exchange for all tensors, end to end; tensors on the CPU travel by way of the device."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors]).to(get_device())
        distributed.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def all_gather(self, items: list[Any]) -> list[Any]:
        shares: list[Any] = [None] * self.size
        distributed.all_gather_object(shares, items)
        return [item for share in shares for item in share]

    def broadcast_(self, tensors: list[Tensor]) -> None:
        for tensor in tensors:
            distributed.broadcast(tensor.data, src=0)


class _Trainer(TorchTrainer):
    """Ray's own, but that Ctrl-C stays Python's, and that no process is started for Ray Data, which is not used."""

    def _register_sigint_handler(self, controller: Any) -> None:
        """Ray's handler ends the process without a word, and stays on after the training."""

    def _create_default_callbacks(self) -> list[Any]:
        callbacks: list[Any] = super()._create_default_callbacks()  # type: ignore[misc]  # typed as Ray's older trainer
        return [callback for callback in callbacks if type(callback).__name__ != "DatasetsCallback"]


def train(
    plan: Plan,
    seed: int,
    data: TrainingData,
    *,
    storage: str,
    name: str,
    on_progress: OnProgress,
    on_resume: Callable[[list[Record]], None] = lambda history: None,
) -> tuple[State, str]:
    """Train one run, or go on with it; returns its last state, and what the counter started from.

    `storage` is a folder or any address that pyarrow opens, such as `s3://bucket/path`; `on_progress` gets the epochs
    done so far, and the record of each epoch that ends; `on_resume` gets the records of the epochs after which training
    goes on, each time that a worker takes it up again. Raises UserError for what a user can correct, if possible before
    Ray is asked, and ray.train.TrainingFailedError where a worker was lost more than three times."""
    code, model = code_sha256("train", plan), assemble(plan, seed)
    load_start(model)
    samples(plan, seed, data, model.stride)
    filesystem, root = open_filesystem(storage)
    with explaining(storage):
        _drop_unreadable_snapshot(filesystem, f"{root}/{name}")
        newest_state(filesystem, f"{root}/{name}")  # for its warnings: those of the workers do not come here
        shared = share(data, filesystem, root)
    config = {
        "plan": plan.plain(),
        "code": code,
        "seed": seed,
        "data": shared,
        "storage": (filesystem, f"{root}/{name}"),
        "hang": hang_seconds(),
        "interval": checkpoint_seconds(),
    }
    saved = None
    with cluster(), explaining(storage):
        scaling = _scaling(plan.training.workers)
        while saved is None or "part" in saved["state"]:
            with listening(name, on_progress, on_resume) as (queue, mistakes):
                _trainer(config | {"queue": queue}, scaling, filesystem, root, name).fit()
            if mistakes:
                raise UserError(_save_batches(name, mistakes))
            saved = newest_state(filesystem, f"{root}/{name}")
            assert saved is not None
            if "part" in saved["state"]:
                log.warning("warning: a node is to be taken away: the training goes on, from this step, without it")
    return saved["state"], str(saved["started_from"])


def _trainer(
    config: dict[str, Any], scaling: ScalingConfig, filesystem: fs.FileSystem, root: str, name: str
) -> _Trainer:
    run = RunConfig(
        name=name,
        storage_path=root,
        storage_filesystem=filesystem,
        checkpoint_config=CheckpointConfig(num_to_keep=2),
        failure_config=FailureConfig(max_failures=FAILURES),
    )
    return _Trainer(train_loop_per_worker, train_loop_config=config, scaling_config=scaling, run_config=run)


def _drop_unreadable_snapshot(filesystem: fs.FileSystem, folder: str) -> None:
    """Remove Ray's list of a run's checkpoints where it is cut off or names one that is lost: Ray would refuse to go
    on. The workers look for the newest whole checkpoint themselves."""
    path = f"{folder}/{SNAPSHOT}"
    try:
        with filesystem.open_input_stream(path) as file:
            listed = [each["checkpoint_dir_name"] for each in json.loads(file.readall())["checkpoint_results"]]
    except FileNotFoundError:
        return
    except (ValueError, KeyError):
        log.warning("warning: %s is damaged: going on without it", path)
    else:
        lost = sorted(set(listed) - set(checkpoint_names(filesystem, folder)))
        if not lost:
            return
        log.warning("warning: %s: %s is lost: going on from another checkpoint", folder, ", ".join(lost))
    filesystem.delete_file(path)


def _save_batches(run: str, mistakes: list[DivergedError]) -> str:
    """Write what the workers of a run that diverged trained on; returns what the user reads."""
    files = []
    for rank, mistake in enumerate(mistakes):
        if mistake.batch is not None:
            files.append(diverged_batch(run, rank))
            files[-1].parent.mkdir(parents=True, exist_ok=True)
            torch.save(mistake.batch, files[-1])
    return f"{mistakes[0]}" + (f"; the last batch is in {', '.join(map(str, files))}" if files else "")


def forget(storage: str, name: str) -> None:
    """Remove the state of what has ended: its results are elsewhere by now."""
    filesystem, root = open_filesystem(storage)
    with explaining(storage):
        filesystem.delete_dir(f"{root}/{name}")


def _scaling(workers: int) -> ScalingConfig:
    there = ray.cluster_resources().get("GPU", 0)
    gpus = there >= workers
    if there and not gpus:
        log.warning("warning: training.workers: %d, but the cluster has %g GPUs: training without them", workers, there)
    resources = {"CPU": share_of_cpus(workers, "training.workers"), "GPU": int(gpus)}
    return ScalingConfig(num_workers=workers, use_gpu=gpus, resources_per_worker=resources)


def train_loop_per_worker(config: dict[str, Any]) -> None:
    """What each worker does."""
    enter(config["data"])
    plan, seed, queue = read_plan(config["plan"], "plan"), config["seed"], config["queue"]
    check_code("train", plan, config["code"])
    torch.set_num_threads(max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1))))
    model = assemble(plan, seed)
    saved = newest_state(*config["storage"])
    if saved is None:
        saved = {"state": None, "started_from": load_start(model)}
    communicator = RayCommunicator()
    if communicator.rank == 0 and saved["state"]:
        queue.put((saved["state"]["epoch"], saved["state"]["history"]))
    reports = Reports(queue, communicator.rank, config["interval"], saved["started_from"])
    watchdog = Watchdog(config["hang"], lambda stacks: queue.put((communicator.rank, stacks)))

    def on_progress(epochs: float) -> None:
        watchdog.beat()
        reports.progress(epochs)

    training, validation = samples(plan, seed, open_shared(config["data"]), model.stride)
    model.to(get_device())
    try:
        with watchdog:
            fit(
                model,
                training,
                validation,
                plan.training,
                report=reports.save,
                state=saved["state"],
                communicator=communicator,
                on_progress=on_progress,
                stop_requested=_node_is_drained,
                part_is_due=reports.part_is_due,
            )
    except DivergedError as mistake:  # on every worker, and after every restart again: reported, not retried
        mistakes = communicator.all_gather([(str(mistake), mistake.batch)])
        if communicator.rank == 0:
            queue.put((None, mistakes))


def _node_is_drained() -> bool:
    """Whether a node of this training is to be taken away, as this worker heard: without Ray's own question after it,
    for which all workers wait for each other."""
    return get_train_context().preemption_context.preemption_info is not None
