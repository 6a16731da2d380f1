"""What the light counter costs: a training step and a count of `efficientnet_lite` against those of MCNN.

    OMP_NUM_THREADS=1 python -m benchmarks.light_counter [--rounds 5]

A step is forward, squared error, backward and Adam on four crops of 256 x 384, with the light counter's first three
blocks fixed; a count is of one image of 512 x 384. Both counters take turns, round by round, so that a noisy machine is
noisy for both; a ratio is of CPU seconds, of the fastest round of each."""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable

import torch

from components.config import plugins
from components.config.options import Choice
from components.crowd import Counter
from components.networks import trainable

KINDS = ("mcnn", "efficientnet_lite")
STEP_BOUND, COUNT_BOUND = 0.35, 0.2  # times MCNN's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    crops, image = torch.rand(4, 3, 256, 384), torch.rand(1, 3, 384, 512)
    counters = {kind: build(kind) for kind in KINDS}
    seconds = defaultdict[tuple[str, str], list[float]](list)
    for _ in range(options.rounds + 1):  # the first round warms up
        for kind, counter in counters.items():
            seconds[kind, "step"].append(cpu_seconds(lambda counter=counter: step(counter, crops)))
            seconds[kind, "count"].append(cpu_seconds(lambda counter=counter: count(counter, image)))
    missed = False
    for what, bound in (("step", STEP_BOUND), ("count", COUNT_BOUND)):
        mcnn, light = (min(seconds[kind, what][1:]) for kind in KINDS)
        print(f"{what:5}  MCNN {mcnn:.3f} CPU s, the light one {light:.3f}: {light / mcnn:.2f} times; allowed: {bound}")
        missed |= light / mcnn > bound
    sys.exit(missed)


def build(kind: str) -> Counter:
    counter: Counter = plugins.build("counter", kind, plugins.resolve("counter", Choice(kind=kind), "benchmark"))
    counter.load_pretrained()
    return counter.to(memory_format=torch.channels_last)


def cpu_seconds(run: Callable[[], None]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def step(counter: Counter, crops: torch.Tensor) -> None:
    optimiser = torch.optim.Adam(trainable(counter).values(), lr=1e-6)
    counter(crops).square().sum().backward()
    optimiser.step()


def count(counter: Counter, image: torch.Tensor) -> None:
    with torch.inference_mode():
        counter(image).sum()


if __name__ == "__main__":
    main()
