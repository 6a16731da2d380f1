"""How much longer a search takes than its trials, and how soon one goes on whose driver was killed.

    OMP_NUM_THREADS=1 python -m benchmarks.search --trials 100

A trial is one epoch of MCNN on 24 images of 96 x 128 px, about a second. Its own time is what Ray reports of it: from
when its worker takes it up to its last report. The ideal search takes the sum of these over the slots. The driver is
killed when all trials but the last few have ended; then the same search is started again, and
timed from the start of its process until a trial ends: one that was left, or whose end Ray had not yet saved."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from components.config.search import Dimension, Search
from components.training.assemble import open_data
from components.training.ray_cluster import cluster
from components.training.ray_tune import run_search
from components.workspace.processes import configure_logging, end_tree
from tests import crowds

IMAGES = 24  # of a trial
LEFT = 4  # trials that are left to the second process
OVERHEAD, RESTORED = 1.2, 60.0  # bounds: the search over the ideal one; seconds until a restored search goes on
READY, ENDED = "ready", ": trial "  # what the process of a search prints when Ray runs, and of each trial that ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--slots", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--drive", help=argparse.SUPPRESS)  # the folder of a search, for its own process
    options = parser.parse_args()
    if options.trials <= options.slots + LEFT:
        parser.error(f"--trials: must be more than {options.slots + LEFT}")
    if options.drive:
        drive(Path(options.drive), options.trials, options.slots)
    else:
        sys.exit(measure(options.trials, options.slots))


def drive(folder: Path, trials: int, slots: int) -> None:
    """Run the search of a folder, or go on with it; the seconds of its trials, by number, go to `seconds.json`."""
    search = Search(
        experiment="made",
        trials=trials,
        epochs=1,
        concurrent=slots,
        space={"counter.optimiser.lr": Dimension(loguniform=(1e-5, 1e-3))},
    )
    configure_logging()
    data = open_data(folder / "prepared", folder / "maps")
    with cluster():
        print(READY, flush=True)
        found = run_search(crowds.plan(), search, data, storage=str(folder), name="search", title="made")
    (folder / "seconds.json").write_text(json.dumps({trial.trial: trial.seconds for trial in found}))


def measure(trials: int, slots: int) -> int:
    """Run a search in two processes, the first of which is killed, and print what it cost; the exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        crowds.write(folder, [(96, 128)] * (IMAGES + 1), ["train"] * IMAGES + ["val"])
        begun = time.monotonic()
        ready, *ended = run(folder, trials, slots, trials - LEFT)
        again = time.monotonic()
        (_, ready_again), (_, goes_on), *_ = run(folder, trials, slots)
        seconds = json.loads((folder / "seconds.json").read_text())
    numbers = [number for number, _ in ended]
    took, own = ended[-1][1] - ready[1], sum(seconds[number] for number in numbers)
    overhead = took / (own / slots)
    print(f"start of Ray    {ready[1] - begun:7.1f} s")
    print(f"a trial         {own / len(numbers):7.2f} s of its own, the mean of {len(numbers)}")
    print(f"search          {took:7.1f} s on {slots} slots: {overhead:.2f} times the ideal; wanted: {OVERHEAD}")
    print(
        f"restored        {goes_on - again:7.1f} s until a trial ended, of which Ray took "
        f"{ready_again - again:.1f} s to start; wanted: {RESTORED:.0f} s"
    )
    return int(overhead > OVERHEAD or goes_on - again > RESTORED)


def run(folder: Path, trials: int, slots: int, until: int | None = None) -> list[tuple[str, float]]:
    """Start the process of a search, and kill it when `until` trials have ended, if that is given; what it said
    and when: that it was ready, and the number of each trial that ended."""
    command = [sys.executable, "-m", "benchmarks.search", "--drive", str(folder)]
    arguments = ["--trials", str(trials), "--slots", str(slots)]
    heard = list[tuple[str, float]]()
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen([*command, *arguments], **options) as driver:
        try:
            assert driver.stdout is not None
            for line in driver.stdout:
                if line.strip() == READY:
                    heard.append((READY, time.monotonic()))
                elif ENDED in line:
                    heard.append((line.partition(ENDED)[2].split()[0], time.monotonic()))
                if len(heard) - 1 == until:
                    driver.kill()
                    break
            driver.wait()
        finally:
            end_tree(driver)
    return heard


if __name__ == "__main__":
    main()
