"""Measures what a training costs here, and two real trainings by two workers on two Ray nodes beside their simulation.

Of the costs, those of steps come from two processes without Ray, the others from short trainings with Ray in which one
worker is killed; the trainings that are compared are longer, and none of their own times enters their simulation, but
the moment at which a worker of the second is killed."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median
from typing import Any

import psutil
import torch
from pyarrow import fs
from ray.cluster_utils import Cluster
from torch import Tensor, distributed
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.scale.costs import Costs, Validation
from benchmarks.scale.simulate import Training, simulate
from components.config.resolve import Plan
from components.evaluation.score import score
from components.training import ray_train
from components.training.assemble import assemble, load_start, open_data, samples
from components.training.checkpoints import newest_state, write_state
from components.training.epoch import Communicator, Record, train_epoch
from components.training.optimisers import build_optimisers
from components.training.ray_cluster import cluster
from tests import crowds

IMAGES, VALIDATION, BATCH, WORKERS = 32, 8, 4, 2
SIZE, CROP = (256, 320), (128, 128)  # pixels, of images and of crops
STEPS = IMAGES // BATCH  # an epoch
SHORT, LONG = 4, 8  # epochs: of the training that is measured, of those that are compared
KILL_SHORT, KILL_LONG = 1.5, 3.5  # epochs after which a worker is killed


@dataclass
class Timeline:
    """When what happened in a training, in seconds after it was called."""

    epochs: list[tuple[float, Record]] = field(default_factory=list)
    killed: float | None = None
    ended: float = 0.0


@dataclass(frozen=True)
class Bare:
    """Two workers without Ray: seconds of a step until the slower one is done, of a sum of all gradients, of counting
    an image, and bytes of the gradients."""

    step: float
    all_reduce: float
    image: float
    all_reduce_bytes: int


class TimedCommunicator(Communicator):
    """Two processes that wait for each other before a sum is timed, so that it is without the slower one's delay."""

    def __init__(self, rank: int) -> None:
        self.rank, self.size = rank, WORKERS
        self.seconds, self.bytes = 0.0, 0

    def all_reduce_(self, tensors: list[Tensor]) -> None:
        distributed.barrier()
        started = time.perf_counter()
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))
        self.seconds += time.perf_counter() - started
        self.bytes = max(self.bytes, flat.nbytes)


def measure() -> Iterator[tuple[Costs, list[Validation]]]:
    """Costs of this machine, and the trainings so far beside their simulation: after each of them. What is measured
    and what it is compared with take turns, since other work on the machine comes and goes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = crowds.write(folder, [SIZE] * (IMAGES + VALIDATION), ["train"] * IMAGES + ["val"] * VALIDATION)
        bare, long = [measure_bare(made)], list[Timeline]()
        with two_nodes() as ray_start:
            short = train(made, folder / "short", SHORT, KILL_SHORT)
            bare.append(measure_bare(made))
            for kill in (KILL_LONG, None):
                long.append(train(made, folder / f"long-{len(long)}", LONG, kill))
                bare.append(measure_bare(made))
                costs = collect(bare, short, ray_start, *measure_files(made, folder / f"state-{len(long)}"))
                yield costs, [compare(costs, run) for run in long]


def measure_bare(made: tuple[Path, Path]) -> Bare:
    """Two processes on one core each."""
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
        jobs = [pool.submit(bare_worker, rank, f"file://{folder}/rendezvous", made) for rank in range(WORKERS)]
        return max((job.result() for job in jobs), key=lambda each: each.step)


def bare_worker(rank: int, rendezvous: str, made: tuple[Path, Path]) -> Bare:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rendezvous, rank=rank, world_size=WORKERS)
    settings = plan(epochs=3)
    model = assemble(settings, 0)
    load_start(model)
    training, validation = samples(settings, 0, open_data(*made), model.stride)
    optimisers, seconds, communicator = build_optimisers(model), 0.0, TimedCommunicator(rank)
    for epoch in (1, 2, 3):
        if epoch == 2:  # the first one warms up
            seconds, communicator = 0.0, TimedCommunicator(rank)
        record = train_epoch(model, optimisers, training, settings.training, epoch, communicator, lambda epochs: None)
        seconds += record["seconds"]
    model.eval()
    started = time.perf_counter()
    score(model.predict_image, validation.scored(range(rank, len(validation), WORKERS)), model.stride)
    image = (time.perf_counter() - started) / (len(validation) // WORKERS)
    distributed.barrier()
    distributed.destroy_process_group()
    step = (seconds - communicator.seconds) / (2 * STEPS)
    return Bare(step, communicator.seconds / (2 * STEPS), image, communicator.bytes)


def plan(epochs: int, workers: int = 1) -> Plan:
    counter = {"kind": "efficientnet_lite"}
    return crowds.plan(counter=counter, epochs=epochs, batch_size=BATCH, crop=list(CROP), workers=workers)


@contextmanager
def two_nodes() -> Iterator[float]:
    """A Ray cluster of two nodes with one CPU each, on this machine; the seconds that it took to start."""
    before, started = dict(os.environ), time.perf_counter()
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_WAIT_POLICY": "PASSIVE",
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
        "RAY_raylet_start_wait_time_s": "120",
        "RAY_worker_niceness": "0",  # as the processes without Ray; by default 15, which a busy machine starves
    }
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 10**8}
    nodes = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    try:
        nodes.add_node(**node)
        os.environ["RAY_ADDRESS"] = nodes.address
        with cluster():
            yield time.perf_counter() - started
    finally:
        nodes.shutdown()
        os.environ.clear()
        os.environ.update(before)


def train(made: tuple[Path, Path], storage: Path, epochs: int, kill: float | None) -> Timeline:
    """A real training; a worker is killed once, after `kill` epochs."""
    timeline, started = Timeline(), time.perf_counter()

    def on_progress(done: float, record: Record | None) -> None:
        if record is not None:
            timeline.epochs.append((time.perf_counter() - started, record))
        elif kill is not None and timeline.killed is None and done >= kill:
            workers = psutil.Process().children(recursive=True)
            next(each for each in workers if each.name().startswith("ray::RayTrainW")).kill()
            timeline.killed = time.perf_counter() - started

    settings = plan(epochs, WORKERS)
    ray_train.train(settings, 0, open_data(*made), storage=str(storage), name="run", on_progress=on_progress)
    timeline.ended = time.perf_counter() - started
    show(
        f"{epochs} epochs",
        [timeline.killed or 0.0, *(record["seconds"] for _, record in timeline.epochs), timeline.ended],
    )
    return timeline


def measure_files(made: tuple[Path, Path], folder: Path) -> tuple[float, float, int]:
    """Seconds to write a checkpoint's files and to read them, and their bytes."""
    settings, write, restore = plan(epochs=1), [], []
    model = assemble(settings, 0)
    optimisers = build_optimisers(model)
    training, _ = samples(settings, 0, open_data(*made), model.stride)
    train_epoch(model, optimisers, training, settings.training, 1, Communicator(), lambda epochs: None)
    weights = model.state_dict()
    state = {"model": weights, "best": {name: value.clone() for name, value in weights.items()}}
    state |= {name: optimiser.state_dict() for name, optimiser in optimisers.items()}
    target = folder / "checkpoint_1"
    target.mkdir(parents=True)
    for _ in range(5):
        started = time.perf_counter()
        write_state(state, target)
        written = time.perf_counter()
        newest_state(fs.LocalFileSystem(), str(folder))
        write.append(written - started)
        restore.append(time.perf_counter() - written)
    return median(write), median(restore), sum(each.stat().st_size for each in target.iterdir())


def collect(bare: list[Bare], short: Timeline, ray_start: float, write: float, restore: float, size: int) -> Costs:
    """What the short training says of all but steps: an epoch's record comes when its checkpoint's files are written,
    and holds the seconds of its steps."""
    assert short.killed is not None
    image = mean(each.image for each in bare)
    validation = validation_seconds(image)
    arrived, first = short.epochs[0]
    checkpoints, restart = list[float](), 0.0
    for (before, _), (now, record) in pairwise(short.epochs):
        began = now - record["seconds"] - validation
        if before < short.killed < now:
            restart = began - write - short.killed
        else:
            checkpoints.append(began - before)
    show("step", [each.step for each in bare])
    show("checkpoint", checkpoints)
    return Costs(
        step=mean(each.step for each in bare),
        all_reduce=mean(each.all_reduce for each in bare),
        all_reduce_bytes=bare[0].all_reduce_bytes,
        image=image,
        image_pixels=SIZE[0] * SIZE[1],
        checkpoint=mean(checkpoints),
        checkpoint_bytes=size,
        restore=restore,
        ray_start=ray_start,
        start=arrived - first["seconds"] - validation - write,
        restart=restart,
        end=short.ended - short.epochs[-1][0] + write - mean(checkpoints),
        frame_operations=frame_operations(),
    )


def show(name: str, seconds: list[float]) -> None:
    """The times of one cost, in the order in which they were measured: how quiet the machine was."""
    print(f"{name:11} {', '.join(f'{each:.3f}' for each in seconds)} s", flush=True)


def frame_operations() -> float:
    """Floating point operations of a training step on one frame of 1024 x 768, a multiplication and an addition being
    two: three times those forward, since PyTorch counts too many backward through convolutions in groups."""
    counter = assemble(plan(epochs=1), 0).counter.to("meta")  # shapes alone: nothing is computed
    with FlopCounterMode(display=False) as operations:
        counter(torch.empty(1, 3, 768, 1024, device="meta"))
    return 3.0 * operations.get_total_flops()


def validation_seconds(image: float) -> float:
    return ceil(VALIDATION / WORKERS) * image


def compare(costs: Costs, run: Timeline) -> Validation:
    """A real training beside the simulated one."""
    epochs = len({record["epoch"] for _, record in run.epochs})
    training = Training(
        steps=epochs * STEPS,
        step=costs.step + costs.all_reduce,
        every=STEPS,
        nodes=WORKERS,
        start=costs.start,
        restart=costs.restart - costs.restore,
        checkpoint=costs.checkpoint,
        restore=costs.restore,
        validation=validation_seconds(costs.image),
        end=costs.end,
    )
    failures = [] if run.killed is None else [run.killed]
    simulated = simulate(training, spares=1, failures=failures).wall
    return Validation(epochs, STEPS, run.killed, run.ended, simulated)
