"""How much faster two workers on two Ray nodes train than one, and what Ray Train adds to the bare loop.

    OMP_NUM_THREADS=1 python -m benchmarks.two_nodes [--epochs 3]

`efficientnet_lite` on crops of 384 x 512, batches of 4 for each worker, every worker on one core with one thread; and
two workers that share a batch of 4, for which there is no bound: they exchange as many gradients for half the work.

An epoch's time is from the end of the one before to its own: steps, counting the validation images, and what is kept of
it, which is a copy in memory for the bare loop (`fit`) and a checkpoint on the disk for Ray's workers; a case's is that
of its fastest epoch. Both nodes are on this machine, so gradients are exchanged over loopback, and Ray's own processes
take time of the same cores. An otherwise idle machine is wanted."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch

from benchmarks.scale.measure import two_nodes
from components.config.resolve import Plan
from components.training import ray_train
from components.training.assemble import assemble, load_start, open_data, samples
from components.training.fit import fit
from tests import crowds

IMAGES, VALIDATION, BATCH, SIZE = 48, 4, 4, (384, 512)
SPEED, OVERHEAD = 0.9, 1.05  # of twice one worker's; times the bare loop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3, help="of each training, but for the first, which warms up")
    epochs = parser.parse_args().epochs + 1
    torch.set_num_threads(1)
    cases: dict[str, Callable[[tuple[Path, Path], Path], list[float]]] = {
        "bare loop": lambda made, _: bare(made, plan(epochs, 1, BATCH)),
        "one worker": lambda made, folder: with_ray(made, plan(epochs, 1, BATCH), folder),
        "two workers": lambda made, folder: with_ray(made, plan(epochs, 2, 2 * BATCH), folder),
        "two share a batch": lambda made, folder: with_ray(made, plan(epochs, 2, BATCH), folder),
    }
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name, two_nodes():
        sizes, splits = [SIZE] * (IMAGES + VALIDATION), ["train"] * IMAGES + ["val"] * VALIDATION
        made = crowds.write(Path(name), sizes, splits)
        for case, run in cases.items():
            seconds[case] = [after - before for before, after in pairwise(run(made, Path(name) / case))]
            print(f"{case:17} {', '.join(f'{each:.2f}' for each in seconds[case])} s an epoch", flush=True)
    alone, one, two, sharing = (min(seconds[case]) for case in cases)
    speed, overhead = one / two / 2, one / alone
    print(f"two workers have {speed:.2f} of twice the throughput of one; wanted: at least {SPEED}")
    print(f"sharing a batch they have {one / sharing / 2:.2f} of it")
    print(f"Ray Train takes {overhead:.3f} times as long as the bare loop; wanted: at most {OVERHEAD}")
    sys.exit(speed < SPEED or overhead > OVERHEAD)


def plan(epochs: int, workers: int, batch: int) -> Plan:
    counter = {"kind": "efficientnet_lite", "fixed_blocks": 3}
    return crowds.plan(counter=counter, epochs=epochs, batch_size=batch, crop=list(SIZE), workers=workers)


def bare(made: tuple[Path, Path], settings: Plan) -> list[float]:
    """When each epoch of the bare loop ended."""
    model, ends = assemble(settings, 0), list[float]()
    load_start(model)
    training, validation = samples(settings, 0, open_data(*made), model.stride)
    fit(model, training, validation, settings.training, report=lambda *_: ends.append(time.perf_counter()))
    return ends


def with_ray(made: tuple[Path, Path], settings: Plan, storage: Path) -> list[float]:
    """When the driver heard of the end of each epoch."""
    ends = list[float]()

    def on_progress(done: float, record: object) -> None:
        if record is not None:
            ends.append(time.perf_counter())

    ray_train.train(settings, 0, open_data(*made), storage=str(storage), name="run", on_progress=on_progress)
    return ends


if __name__ == "__main__":
    main()
