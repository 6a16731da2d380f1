"""What a density map that learns costs: a training step with it against a plain one, whose map is drawn.

    OMP_NUM_THREADS=1 python -m benchmarks.map_step [--shanghaitech FOLDER] [--rounds 5] [--crowd typical]
                                                    [--counter mcnn]

A step is `fit`'s: both networks updated, crops of 384 x 512 out of images of 1024 x 768. The images are those of
ShanghaiTech B nearest to its median number of dots, and those of part A with the most: the dense case, reported and not
bound. Without the data set, made crowds stand in for both. All cases take their turns in one process, round by round,
so that a noisy machine is noisy for all; a ratio is of CPU seconds, of the fastest round of each. A case is a row of
`CASES`; the bounds of `generated` and `kernel` beside MCNN are for processors that multiply in bf16."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.real_crowds import CROWDS, write
from components.crowd import Batch
from components.training.assemble import assemble, open_data, samples
from components.training.epoch import Communicator, train_step
from components.training.joint import JointModel
from components.training.optimisers import build_optimisers
from tests import crowds

CROP = (384, 512)


class Case(NamedTuple):
    density_map: dict  # its kind, and options
    bound: float | None  # times a plain step, in the typical crowd


LIGHT = [  # for a counter of a few thousand multiply-adds a pixel, or any other that is asked for by name
    Case({"kind": "generated"}, None),
    Case({"kind": "generated", "resolution": "half"}, None),
    Case({"kind": "generated", "resolution": "grid"}, 1.5),
    Case({"kind": "refined"}, None),
    Case({"kind": "mixture", "training": "joint"}, None),
    Case({"kind": "mixture"}, 1.25),
    Case({"kind": "mixture", "every": 10}, None),
    Case({"kind": "mixture", "features": "dots_and_counter"}, None),
    Case({"kind": "mixture", "inner": "adam"}, None),
    Case({"kind": "mixture", "shares": "equal"}, None),
    Case({"kind": "kernel"}, None),
]
CASES = {
    "mcnn": [
        Case({"kind": "generated"}, 2.5),
        Case({"kind": "generated", "precision": "fp32"}, None),
        Case({"kind": "generated", "resolution": "half"}, None),
        Case({"kind": "generated", "resolution": "grid"}, None),
        Case({"kind": "generated", "fusion": "direct"}, None),
        Case({"kind": "generated", "fusion": "image_attention"}, None),
        Case({"kind": "generated", "kernels": "learned"}, None),
        Case({"kind": "generated", "refinement": "hard_norm"}, None),
        Case({"kind": "refined"}, None),
        Case({"kind": "mixture", "training": "joint"}, 1.1),
        Case({"kind": "mixture"}, 1.4),
        Case({"kind": "kernel"}, 1.1),
        Case({"kind": "kernel", "precision": "fp32"}, None),
    ],
    "csrnet": [Case({"kind": "generated"}, 1.2)],
    "efficientnet_lite": LIGHT,
}
PLAIN = {"kind": "identity"}


class Steps:
    """Training steps of one model over the same batches, again and again."""

    def __init__(self, counter: str, density_map: dict, data: tuple[Path, Path], crop: tuple[int, int] = CROP) -> None:
        weights = {"weights": "random"} if counter in ("csrnet", "sfcn", "efficientnet_lite") else {}
        plan = crowds.plan(density_map, {"kind": counter, **weights}, batch_size=1, crop=crop)
        self.model: JointModel = assemble(plan, 0)
        self.optimisers = [*build_optimisers(self.model).values()]
        batches = samples(plan, 0, open_data(*data), self.model.stride)[0].batches(1, 1)
        self.batches: list[Batch] = [batch for batch, _ in batches if batch is not None]

    def round(self) -> float:
        """CPU seconds of a step, the mean over the batches, or over as many steps as a bilevel map takes turns in."""
        steps = max(len(self.batches), self.model.density_map.bilevel_every or 0)
        started = time.process_time()
        for number in range(steps):
            self.step(number)
        return (time.process_time() - started) / steps

    def step(self, number: int) -> None:
        """One update as `fit` does it, from one of the batches: of all networks that have their turn."""
        place = number % len(self.batches)
        every = self.model.density_map.bilevel_every
        turn = every is not None and number % every == 0
        learning = self.optimisers if turn or every is None else self.optimisers[:1]
        outer = (self.batches[place - 1], 1) if turn else None
        train_step(self.model, learning, self.batches[place], 1, self.model.learns_maps, Communicator(), outer)


def compare(counter: str, cases: list[Case], crowd: str, data: tuple[Path, Path], rounds: int) -> bool:
    """Print one row a case; whether one of them misses its bound."""
    runs = [Steps(counter, PLAIN, data), *(Steps(counter, case.density_map, data) for case in cases)]
    times = defaultdict(list)
    for number in range(rounds + 1):
        for place, steps in enumerate(runs):
            seconds = steps.round()
            if number:  # the first one also prepares each layer for its shapes
                times[place].append(seconds)
    plain, *learned = (min(times[place]) for place in range(len(runs)))
    missed = False
    for case, seconds in zip(cases, learned, strict=True):
        bound = case.bound if crowd == "typical" else None
        missed |= bound is not None and seconds / plain > bound
        name = ", ".join(str(value) for value in case.density_map.values())
        print(
            f"| {counter:6} | {name:26} | {crowd:7} | {1000 * plain:8.0f} | {1000 * seconds:8.0f} "
            f"| {seconds / plain:5.2f} | {bound or '':5} |",
            flush=True,
        )
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shanghaitech", type=Path, default=Path("../shared/data/shanghaitech"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--counter", help=f"one counter alone, of any kind; default: {', '.join(CASES)}")
    parser.add_argument("--crowd", choices=CROWDS, help="one crowd")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| counter | density map               | crowd   | plain, ms | step, ms | ratio | bound |")
    print("|---------|---------------------------|---------|----------:|---------:|------:|------:|")
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        chosen = [options.crowd] if options.crowd else CROWDS
        data = {crowd: write(Path(folder) / crowd, crowd, options.shanghaitech) for crowd in chosen}
        for counter in [options.counter] if options.counter else CASES:
            for crowd in chosen:
                missed |= compare(counter, CASES.get(counter, LIGHT), crowd, data[crowd], options.rounds)
    sys.exit(missed)


if __name__ == "__main__":
    main()
