"""How fast `dotfield count` is: pictures a second, against a plain PyTorch loop over the same weights.

    python -m benchmarks.count [--pictures 24] [--rounds 3] [--counter out/STUDY/runs/EXPERIMENT/seed-0]

The pictures are made: JPEGs of 1024 x 768 px with noise in them, decoded anew each time. The plain loop decodes one
with Pillow, scales it as training did, and sums what the counter makes of it, with all processors at each operator. The
two take turns, round by round; each counts with its fastest round, in seconds of wall time. Counts must be equal to
rounding."""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Callable
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
    options = parser.parse_args()
    predictor = load_predictor(options.counter)
    with tempfile.TemporaryDirectory() as folder:
        files = write_pictures(Path(folder), options.pictures)
        plain = PlainLoop(predictor)
        ours, theirs = [], []
        for _ in range(options.rounds + 1):  # the first round warms up
            theirs.append(timed(lambda: plain.counts(files)))
            ours.append(timed(lambda: [each.count for each in count_pictures(Job(predictor), find_pictures([folder]))]))
    np.testing.assert_allclose(ours[0][1], theirs[0][1], rtol=1e-4, atol=1e-3)
    slow, fast = (min(seconds for seconds, _ in rounds[1:]) for rounds in (theirs, ours))
    print(
        f"plain loop {len(files) / slow:.2f} pictures a second, count {len(files) / fast:.2f}: {slow / fast:.2f} times"
    )
    print(f"counts equal to 1e-4; wanted: {BOUND} times")
    sys.exit(slow / fast < BOUND)


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
