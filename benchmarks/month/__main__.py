"""A simulated month: 30 nights on which labelled pictures arrive, a counter is retrained, and three policies decide.

    python -m benchmarks.month                       # into out/month; one that was stopped goes on
    python -m benchmarks.month --folder FOLDER

Days get darker, a new camera comes on night 12, the labels of nights 9, 10 and 22 lack people and are corrected later,
and two nights are killed, once while training and once at the gate, and run again. Each night runs in a process of its
own, through the inbox, the gate and the registry that `flows/retrain.py` uses; it trains with `fit`, without Ray.

Written: `month.png`, `nights.csv`. Exit code 1 if a deployment made the count of that night's pictures worse than the
tolerance allows."""

from __future__ import annotations

import argparse
import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.month import night as nights
from benchmarks.month.cameras import CARELESS, FROM, NIGHTS
from components.publish import style

KILLED = {6: "train", 18: "gate"}  # night: the step in which its process is killed, once
FOLDER = Path("out") / "month"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the month lies (%(default)s)")
    parser.add_argument("--nights", type=int, default=NIGHTS, help="the first N nights alone (%(default)s)")
    parser.add_argument("--night", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.night is not None:
        nights.main(options.folder, options.night)
        return
    for night in range(1, options.nights + 1):
        run(options.folder, night)
    os.chdir(options.folder)
    record = nights.read_record()
    write_table(record, Path("nights.csv"))
    draw(record, Path("month.png"))
    sys.exit(summarise(record))


def run(folder: Path, night: int) -> None:
    """Run a night in a process of its own; kill it once if this is its lot, then run it again."""
    mark = folder / f"killed-{night:02d}"
    if night in KILLED and not mark.exists():
        process = start(folder, night)
        assert process.stdout is not None
        if any(line.strip() == KILLED[night] for line in process.stdout):
            process.send_signal(signal.SIGKILL)
        process.wait()
        mark.touch()
        print(f"night {night:2d}: killed in the step {KILLED[night]!r}, and run again", flush=True)
    process = start(folder, night)
    process.communicate()
    if process.returncode:
        sys.exit(f"night {night} ended with exit code {process.returncode}")
    print(f"night {night:2d}: done", flush=True)


def start(folder: Path, night: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.month", "--folder", str(folder), "--night", str(night)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def write_table(record: list[dict[str, Any]], target: Path) -> None:
    with target.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["night", "taken", "outcome", "before", *record[0]["mae"], "reasons"])
        for line in record:
            numbers = [f"{value:.2f}" for value in (line["before"], *line["mae"].values())]
            rows.writerow([line["night"], line["taken"], line["outcome"], *numbers, "; ".join(line["reasons"])])


def draw(record: list[dict[str, Any]], target: Path) -> None:
    """MAE on each night's own pictures, for each policy, and what happened."""
    with style.drawing(target, 1, 1, 8.5, 4) as (_, [[axes]]):
        days = [line["night"] for line in record]
        for place, (name, width) in enumerate((("gated", 2.4), ("always deploy", 1.2), ("never retrain", 1.2))):
            values = [line["mae"][name] for line in record]
            axes.plot(days, values, style.dashes(0), color=style.colour(place), linewidth=width, label=name)
        deployed = [line for line in record if line["outcome"] == "GO"]
        axes.plot(
            [line["night"] for line in deployed],
            [line["mae"]["gated"] for line in deployed],
            "o",
            color=style.colour(0),
            markersize=4,
            label="a counter deployed by the gate",
        )
        top = axes.get_ylim()[1]
        for place, night in enumerate(CARELESS):
            words = {"label": "bad labels"} if place == 0 else {}
            axes.axvspan(night - 0.5, night + 0.5, color="#f3d9c6", linewidth=0, **words)
        for night, word in [(FROM, "new camera"), *((night, "killed") for night in KILLED)]:
            axes.axvline(night, color=style.LIGHT.axes, linewidth=0.8, linestyle=":")
            axes.text(night + 0.15, top, word, va="top", color=style.LIGHT.axes, fontsize=8)
        axes.set(xlabel="night", ylabel="MAE on this night's pictures (people)", xlim=(0.5, len(days) + 0.5))
        axes.set_ylim(0, top)
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.14), ncols=5)


def summarise(record: list[dict[str, Any]]) -> int:
    """Say how the month went; 1 if a deployment made counts worse than the tolerance allows, else 0."""
    for name in record[0]["mae"]:
        values = [line["mae"][name] for line in record]
        print(f"{name:14}  mean MAE {np.mean(values):6.2f}   worst night {max(values):6.2f}")
    outcomes = [line["outcome"] for line in record]
    print(", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in ("GO", "NO-GO", "INCONCLUSIVE")))
    worse = [line["night"] for line in record if line["mae"]["gated"] > (1 + nights.TOLERANCE) * line["before"]]
    print(f"nights on which a deployment made that night's counts worse by more than {nights.TOLERANCE:.0%}: {worse}")
    return int(bool(worse))


if __name__ == "__main__":
    main()
