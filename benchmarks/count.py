"""How fast `dotfield count` is: pictures a second, against a plain PyTorch loop over the same weights.

    python -m benchmarks.count [--pictures 24] [--rounds 3] [--counter RUN] [--folder FOLDER]

The pictures are made: JPEGs of 1024 x 768 px with noise in them, decoded each time; or they are the first of a
folder. The plain loop decodes one with Pillow, scales it as training did, and sums what the counter makes of it, with
all processors at each operator. `dotfield count` counts in fp32, and once more with `--bf16`. They take turns, round by
round; each counts with its fastest round, in seconds of wall time. Counts in fp32 must be equal to rounding; how far
those in bf16 are from them is printed."""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from components.counting.count import Job, count_pictures
from components.counting.pictures import find_pictures
from components.runs.predictor import Predictor, load_predictor

BOUND = 2.0  # times the plain loop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--counter", type=Path)
    parser.add_argument("--folder", type=Path, help="of JPEGs to count, instead of made ones")
    options = parser.parse_args()
    predictor, rounded = load_predictor(options.counter), load_predictor(options.counter)
    rounded.bf16 = True
    with tempfile.TemporaryDirectory() as made:
        if options.folder:
            files = sorted(options.folder.glob("*.jpg"))[: options.pictures]
        else:
            files = write_pictures(Path(made), options.pictures)
        plain = PlainLoop(predictor)
        ways = {
            "plain loop": lambda: plain.counts(files),
            "count": lambda: counts(predictor, files),
            "count --bf16": lambda: counts(rounded, files),
        }
        measured = {way: [timed(run)] for way, run in ways.items()}  # warms up
        for _ in range(options.rounds):
            for way, run in ways.items():
                measured[way].append(timed(run))
    results = {way: np.array(rounds[0][1]) for way, rounds in measured.items()}
    np.testing.assert_allclose(results["count"], results["plain loop"], rtol=1e-4, atol=1e-3)
    seconds = {way: min(seconds for seconds, _ in rounds[1:]) for way, rounds in measured.items()}
    for way, least in seconds.items():
        print(f"{way:12} {len(files) / least:6.2f} pictures a second: {seconds['plain loop'] / least:.2f} times")
    apart = np.abs(results["count --bf16"] - results["count"])
    print(f"wanted of count: {BOUND} times; its counts are the plain loop's to 1e-4")
    print(f"bf16: {apart.mean():.3f} of {results['count'].mean():.1f} people more or fewer, at most {apart.max():.3f}")
    sys.exit(seconds["plain loop"] / seconds["count"] < BOUND)


def counts(predictor: Predictor, files: Sequence[Path]) -> list[float]:
    found = count_pictures(Job(predictor), find_pictures([str(file) for file in files]))
    return [each.count for each in found if each.count is not None]


def write_pictures(folder: Path, number: int) -> list[Path]:
    """JPEGs of smooth noise, 1024 x 768 px, about as large as photographs."""
    random, files = np.random.default_rng(0), []
    for n in range(number):
        coarse = Image.fromarray(random.integers(0, 255, (96, 128, 3), dtype=np.uint8)).resize((1024, 768))
        files.append(folder / f"{n:04d}.jpg")
        coarse.save(files[-1], quality=90)
    return files


class PlainLoop:
    """What a script would do: decode, forward, sum."""

    def __init__(self, predictor: Predictor) -> None:
        self.counter = copy.deepcopy(predictor._counter).to(memory_format=torch.contiguous_format)
        self.people = predictor._loss.people  # what outputs say of people: of `zip` they are several channels
        self.scale, self.longest_side = predictor.metadata["scale"], predictor.longest_side

    @torch.no_grad()
    def counts(self, files: list[Path]) -> list[float]:
        counts = []
        for file in files:
            image = Image.open(file).convert("RGB")
            if self.longest_side and max(image.size) > self.longest_side:
                scale = self.longest_side / max(image.size)
                size = (round(image.width * scale), round(image.height * scale))
                image = image.resize(size, Image.Resampling.LANCZOS)
            tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()[None].float() / 255
            counts.append(self.people(self.counter(tensor)).sum().item() / self.scale)
        return counts


def timed(run: Callable[[], list[float]]) -> tuple[float, list[float]]:
    started = time.perf_counter()
    result = run()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    main()
