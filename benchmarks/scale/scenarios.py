"""The questions that are asked of the simulation, and what is assumed where nothing could be measured here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from statistics import mean

from benchmarks.scale.costs import Costs
from benchmarks.scale.simulate import Training, makespan, simulate, young_daly

HOUR = 3600.0
AIM = 0.988  # goodput
SEEDS = range(4)  # of random failures: the same for all that is compared
FACTORS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8)  # intervals that are tried, as multiples of Young and Daly's
THROUGHPUTS = (50, 100, 200, 400, 800, 1600)  # frames a second that one GPU trains on
DAYS = (1, 30)  # of frames that a night trains on


@dataclass(frozen=True)
class Assumptions:
    """Inputs that no machine at hand can measure; seconds and bytes. A node has one GPU."""

    cameras: int = 2750
    frames: int = 24 * 60  # of one camera a day
    epochs: int = 2  # of a night, as in benchmarks/month
    window: float = 8 * HOUR  # in which a night must end
    throughput: float = 400.0  # frames a second that one GPU trains on, where it is not varied
    batch: int = 64  # frames of one node in a step
    network: float = 12.5e9  # bytes a second between nodes: 100 Gbit/s
    latency: float = 50e-6  # of one message
    storage: float = 2e9  # bytes a second of the storage, for all nodes together
    nodes: int = 100  # of the training whose goodput is asked for
    mtbf: float = 3 * HOUR
    repair: float = 600.0  # until a node that failed is back
    spares: int = 15  # nodes that wait, where there are spare ones
    copy: float = 0.05  # in which steps wait while a checkpoint is copied, where it is then written beside them
    slow_restart: float = 60.0  # from a failure to the next step, where GPU workers load CUDA and perhaps an image
    frame_pixels: int = 1024 * 768
    peak: float = 989e12  # operations a second of one GPU in bf16: NVIDIA H100 SXM, its data sheet, without sparsity


@dataclass(frozen=True)
class Best:
    """The interval between checkpoints, in seconds of steps, with the best goodput of those that were tried."""

    interval: float
    goodput: float
    young_daly: float
    tried: list[tuple[float, float]]  # intervals and goodputs


@dataclass(frozen=True)
class Night:
    """Nodes that one throughput needs."""

    throughput: float
    days: int
    shared: int  # one counter, all nodes in step
    cameras: int  # a counter for each camera, on one node each
    epoch: float  # seconds of an epoch of the shared counter


def training(costs: Costs, assumed: Assumptions, nodes: int, steps: int) -> Training:
    """A training on GPU nodes: steps as assumed, all else as measured here, checkpoints as Young and Daly say."""
    step = assumed.batch / assumed.throughput + all_reduce(costs, assumed, nodes)
    checkpoint = costs.checkpoint + costs.checkpoint_bytes / assumed.storage
    mtbf = assumed.mtbf  # of the cluster of `assumed.nodes`
    interval = young_daly(checkpoint, mtbf * assumed.nodes / nodes)
    return Training(
        steps=steps,
        step=step,
        every=max(1, round(interval / step)),
        nodes=nodes,
        start=costs.start,
        restart=costs.restart - costs.restore,
        checkpoint=costs.checkpoint,
        checkpoint_bytes=costs.checkpoint_bytes,
        restore=costs.restore,
        end=costs.end,
    )


def all_reduce(costs: Costs, assumed: Assumptions, nodes: int) -> float:
    """Seconds of a ring: each node sends and receives 2 (n - 1) / n times all gradients, in 2 (n - 1) messages.

    Patarasuk & Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", JPDC 69(2), 2009."""
    return 2 * (nodes - 1) * (costs.all_reduce_bytes / nodes / assumed.network + assumed.latency)


def best_interval(made: Training, assumed: Assumptions, mtbf: float, spares: int, failures: int = 50) -> Best:
    """Intervals around Young and Daly's, each simulated with the same failures; `mtbf` is that of all its nodes.

    Each simulation does the work of `failures` times the mtbf."""
    blocking = made.checkpoint + (0 if made.asynchronous else made.checkpoint_bytes / assumed.storage)
    usual = young_daly(blocking, mtbf)
    tried = []
    for factor in FACTORS:
        every = max(1, round(factor * usual / made.step))
        candidate = replace(made, every=every, steps=ceil(failures * mtbf / made.step))
        goodput = mean(
            simulate(
                candidate,
                spares=spares,
                mtbf=mtbf * made.nodes,
                repair=assumed.repair,
                bandwidth=assumed.storage,
                seed=seed,
            ).goodput
            for seed in SEEDS
        )
        tried.append((every * made.step, goodput))
    interval, goodput = max(tried, key=lambda each: each[1])
    return Best(interval, goodput, usual, tried)


def goodputs(costs: Costs, assumed: Assumptions) -> dict[str, tuple[Best, Best | None]]:
    """100 nodes in step, once with 3 hours between failures of the cluster, once of each node; and single nodes.

    None where nodes fail faster than they are repaired, so that without a spare one all are never there at once."""
    made, spares = training(costs, assumed, assumed.nodes, 1), assumed.spares
    slow = replace(made, restart=assumed.slow_restart - made.restore)
    variants = {
        "as measured, no spare node": (made, 0),
        "as measured, spare nodes": (made, spares),
        "but restarts in 60 s": (slow, spares),
        "and checkpoints written beside the steps": (replace(slow, asynchronous=True, checkpoint=assumed.copy), spares),
    }
    found: dict[str, tuple[Best, Best | None]] = {}
    for name, (variant, free) in variants.items():
        cluster, node = assumed.mtbf, assumed.mtbf / assumed.nodes
        each = best_interval(variant, assumed, node, free) if free or node > assumed.repair else None
        found[name] = (best_interval(variant, assumed, cluster, free), each)
    alone = best_interval(training(costs, assumed, 1, 1), assumed, assumed.mtbf, 1)
    once = best_interval(training(costs, assumed, 1, 1), assumed, assumed.mtbf * assumed.nodes, 1, failures=5)
    return found | {"as measured, each node a training of its own": (once, alone)}


def nights(costs: Costs, assumed: Assumptions) -> list[Night]:
    """Nodes that retrain the cameras in the window, for each throughput and number of days of frames."""
    return [
        _night(costs, replace(assumed, throughput=throughput, frames=assumed.frames * days), days)
        for days in DAYS
        for throughput in THROUGHPUTS
    ]


def _night(costs: Costs, assumed: Assumptions, days: int) -> Night:
    node_mtbf = assumed.mtbf * assumed.nodes
    frames = assumed.cameras * assumed.frames
    least = ceil(assumed.epochs * frames / assumed.throughput / assumed.window)

    def shared(nodes: int) -> float:
        made = training(costs, assumed, nodes, ceil(assumed.epochs * frames / assumed.batch / nodes))
        runs = (
            simulate(made, spares=1, mtbf=node_mtbf, repair=assumed.repair, bandwidth=assumed.storage, seed=seed)
            for seed in SEEDS
        )
        return max(each.wall for each in runs)

    def one_by_one(nodes: int) -> float:
        made = training(costs, assumed, 1, ceil(assumed.epochs * assumed.frames / assumed.batch))
        return makespan(made, assumed.cameras, nodes, mtbf=node_mtbf, repair=assumed.repair, bandwidth=assumed.storage)

    together = _fewest(shared, least, assumed.window)
    seconds = frames / assumed.throughput / together
    return Night(assumed.throughput, days, together, _fewest(one_by_one, least, assumed.window), seconds)


def _fewest(seconds: Callable[[int], float], least: int, window: float) -> int:
    """The fewest nodes that end in the window."""
    low, high = least - 1, least
    while seconds(high) > window:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if seconds(middle) > window else (low, middle)
    return high


def counting_cores(costs: Costs, assumed: Assumptions) -> float:
    """Processor cores like this machine's that count each frame once, in fp32."""
    seconds = costs.image * assumed.frame_pixels / costs.image_pixels
    return assumed.cameras * assumed.frames / (24 * HOUR) * seconds


def goodput_budget(assumed: Assumptions, restart: float) -> float:
    """The most seconds that a checkpoint may cost if the aim is to be met, to first order: 1 - aim = R/M + sqrt(2C/M).

    0 where the restarts alone cost too much."""
    left = max(0.0, 1 - AIM - restart / assumed.mtbf)
    return left**2 * assumed.mtbf / 2
