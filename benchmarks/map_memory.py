"""The memory that a density map that learns costs: the peak of a training step with it against a plain one.

    OMP_NUM_THREADS=1 python -m benchmarks.map_memory [--shanghaitech FOLDER] [--only mcnn]

A step is `fit`'s, on one image of 1024 x 768, whole. Each peak is the resident memory of a fresh process after one
step, less what that process held before it. Both crowds of `benchmarks.real_crowds` are bound."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.map_step import Steps
from benchmarks.real_crowds import CROWDS, SIZE, write

BOUND = 2.0
COUNTERS = ("mcnn", "csrnet")
KINDS = ("identity", "generated")


def peak(counter: str, kind: str, data: list[str]) -> float:
    """MiB, of a step in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.map_memory", "--child", json.dumps([counter, kind, data])]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def child(counter: str, kind: str, data: list[str]) -> None:
    torch.set_num_threads(1)
    steps = Steps(counter, {"kind": kind}, (Path(data[0]), Path(data[1])), crop=SIZE)
    before = _held()
    steps.step(0)
    print(_held() - before)


def _held() -> float:
    """MiB: the most that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shanghaitech", type=Path, default=Path("../shared/data/shanghaitech"))
    parser.add_argument("--only", choices=COUNTERS)
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    missed = False
    print("| counter | crowd   | plain, MiB | generated, MiB | ratio | bound |")
    print("|---------|---------|-----------:|---------------:|------:|------:|")
    with tempfile.TemporaryDirectory() as folder:
        for crowd in CROWDS:
            data = [str(path) for path in write(Path(folder) / crowd, crowd, options.shanghaitech)]
            for counter in [options.only] if options.only else COUNTERS:
                plain, learned = (peak(counter, kind, data) for kind in KINDS)
                missed |= learned > BOUND * plain
                ratio = learned / plain
                print(
                    f"| {counter:7} | {crowd:7} | {plain:10.0f} | {learned:14.0f} | {ratio:5.2f} | {BOUND:5} |",
                    flush=True,
                )
    sys.exit(missed)


if __name__ == "__main__":
    main()
