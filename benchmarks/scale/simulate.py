"""A discrete-event simulation of trainings on nodes that fail, and the storage of their checkpoints (SimPy).

A training runs in step on all its nodes. Where one is lost all of them stop, a free node takes its place, every worker
starts again and reads the last checkpoint that was whole; steps since then are done again. Time between failures of a
node is exponential, so that of n nodes is too, with a mean n times shorter: also while they start again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import exp, expm1, inf, sqrt
from typing import Any

import numpy as np
import simpy

Events = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Training:
    """One training, in seconds, bytes and nodes."""

    steps: int
    step: float  # on all nodes, with the exchange of gradients
    every: int  # steps between two checkpoints
    nodes: int = 1
    start: float = 0.0  # until the first step
    restart: float = 0.0  # from a failure, or from the arrival of a free node, to the next step, without the restore
    checkpoint: float = 0.0  # in which steps wait, before the transfer to storage
    checkpoint_bytes: float = 0.0
    asynchronous: bool = False  # steps go on during the transfer
    restore: float = 0.0  # on each node, after the transfer from storage
    validation: float = 0.0  # before each checkpoint
    end: float = 0.0  # after the last checkpoint

    @property
    def work(self) -> float:
        return self.steps * self.step


@dataclass(frozen=True)
class Outcome:
    """Where the time of one training went, in seconds; `seconds` has it by what was done, with steps done twice."""

    wall: float
    work: float
    failures: int
    seconds: dict[str, float]

    @property
    def goodput(self) -> float:
        """The share of the time in which steps were made that did not have to be made again."""
        return self.work / self.wall

    @property
    def lost(self) -> float:
        return self.seconds["steps"] - self.work


class Cluster:
    """Nodes, how often they fail and how long they are away, and one storage, in which transfers queue."""

    def __init__(
        self,
        environment: simpy.Environment,
        nodes: int,
        *,
        mtbf: float = inf,
        repair: float = 0.0,
        bandwidth: float = inf,
        seed: int = 0,
    ) -> None:
        """`mtbf` of one node and `repair` in seconds, `bandwidth` in bytes a second."""
        self.environment, self.mtbf, self.repair, self.bandwidth = environment, mtbf, repair, bandwidth
        self.free = simpy.Container(environment, capacity=nodes, init=nodes)
        self.storage = simpy.Resource(environment)
        self.random = np.random.default_rng(seed)

    def transfer(self, size: float) -> Events:
        with self.storage.request() as turn:
            yield turn
            yield self.environment.timeout(size / self.bandwidth)

    def failures(self, nodes: int) -> Iterator[float]:
        """Seconds from one failure to the next, of any of `nodes`."""
        while self.mtbf < inf:
            yield self.random.exponential(self.mtbf / nodes)

    def replace(self) -> Events:
        """One node is away, and then free."""
        yield self.environment.timeout(self.repair)
        yield self.free.put(1)


class Run:
    """One training on a cluster, from the wait for its nodes to its end."""

    def __init__(self, cluster: Cluster, training: Training, failures: Iterable[float] | None = None) -> None:
        """`failures`: the seconds from one to the next, in place of random ones."""
        self.cluster, self.training, self.environment = cluster, training, cluster.environment
        self.durable = 0  # steps that are in storage
        self.upload: simpy.Process | None = None
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed = 0
        gaps = cluster.failures(training.nodes) if failures is None else iter(failures)
        self.process = self.environment.process(self._run(gaps))

    def _run(self, gaps: Iterator[float]) -> Generator[simpy.Event, Any, Outcome]:
        training, missing = self.training, 0
        yield self.cluster.free.get(training.nodes)
        began = self.environment.now
        self.environment.process(self._fail(gaps))
        while self.durable < training.steps:
            try:
                if missing:
                    yield from self._wait_for_nodes(missing)
                    missing = 0
                yield from self._start()
                yield from self._train()
            except simpy.Interrupt:
                self.failed += 1
                missing += 1
                self._abandon_upload()
                self.environment.process(self.cluster.replace())
        yield from self._spend("end", [self.environment.timeout(training.end)])
        yield self.cluster.free.put(training.nodes)
        return Outcome(self.environment.now - began, training.work, self.failed, dict(self.seconds))

    def _fail(self, gaps: Iterator[float]) -> Events:
        for gap in gaps:
            yield self.environment.timeout(gap)
            if self.durable == self.training.steps:
                return
            self.process.interrupt()

    def _wait_for_nodes(self, missing: int) -> Events:
        with self.cluster.free.get(missing) as request:
            yield from self._spend("waiting for a node", [request])

    def _start(self) -> Events:
        seconds = self.training.restart if self.failed else self.training.start
        yield from self._spend("starting", [self.environment.timeout(seconds)])
        if self.durable:
            size = self.training.nodes * self.training.checkpoint_bytes
            yield from self._spend("restoring", self.cluster.transfer(size))
            yield from self._spend("restoring", [self.environment.timeout(self.training.restore)])

    def _train(self) -> Events:
        training, done = self.training, self.durable
        while done < training.steps:
            steps = min(training.every, training.steps - done)
            yield from self._spend("steps", [self.environment.timeout(steps * training.step)])
            done += steps
            if training.validation:
                yield from self._spend("validation", [self.environment.timeout(training.validation)])
            if self.upload is not None and self.upload.is_alive:
                yield from self._spend("checkpoints", [self.upload])
            yield from self._spend("checkpoints", [self.environment.timeout(training.checkpoint)])
            if not training.asynchronous or done == training.steps:
                yield from self._spend("checkpoints", self._store(done))
            else:
                self.upload = self.environment.process(self._store_beside(done))

    def _store(self, done: int) -> Events:
        yield from self.cluster.transfer(self.training.checkpoint_bytes)
        self.durable = done

    def _store_beside(self, done: int) -> Events:
        with suppress(simpy.Interrupt):
            yield from self._store(done)

    def _abandon_upload(self) -> None:
        if self.upload is not None and self.upload.is_alive:
            self.upload.interrupt()

    def _spend(self, what: str, events: Iterable[simpy.Event]) -> Events:
        """Wait for events; the time counts as spent on this also where a failure cuts it off."""
        began = self.environment.now
        try:
            yield from events
        finally:
            self.seconds[what] += self.environment.now - began


def simulate(
    training: Training,
    *,
    spares: int = 0,
    mtbf: float = inf,
    repair: float = 0.0,
    bandwidth: float = inf,
    seed: int = 0,
    failures: Iterable[float] | None = None,
) -> Outcome:
    """One training that has the cluster for itself; `mtbf` is that of one node."""
    environment = simpy.Environment()
    nodes = training.nodes + spares
    cluster = Cluster(environment, nodes, mtbf=mtbf, repair=repair, bandwidth=bandwidth, seed=seed)
    outcome = environment.run(Run(cluster, training, failures).process)
    assert isinstance(outcome, Outcome)
    return outcome


def makespan(
    training: Training, count: int, nodes: int, *, mtbf: float = inf, repair: float = 0.0, bandwidth: float = inf
) -> float:
    """Seconds in which `count` equal trainings end that share `nodes`, each as soon as it finds a free one."""
    environment = simpy.Environment()
    cluster = Cluster(environment, nodes, mtbf=mtbf, repair=repair, bandwidth=bandwidth)
    environment.run(environment.all_of([Run(cluster, training).process for _ in range(count)]))
    return float(environment.now)


def young_daly(checkpoint: float, mtbf: float) -> float:
    """The interval between checkpoints, in seconds of steps, with the best goodput: sqrt(2 C M), to first order in C/M.

    J. W. Young, "A first order approximation to the optimum checkpoint interval", CACM 17(9), 1974; J. T. Daly, "A
    higher order estimate of the optimum checkpoint interval for restart dumps", FGCS 22(3), 2006."""
    return sqrt(2 * checkpoint * mtbf)


def expected_goodput(interval: float, checkpoint: float, restart: float, mtbf: float) -> float:
    """The goodput of an endless training, exactly: failures with an exponential time between them strike steps,
    checkpoints and restarts alike. Seconds; Daly 2006, equation 20."""
    return interval / (mtbf * exp(restart / mtbf) * expm1((interval + checkpoint) / mtbf))
