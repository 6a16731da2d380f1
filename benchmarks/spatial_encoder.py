"""SFCN's spatial encoder against a plain one, which calls its convolution once a slice as public code does.

    OMP_NUM_THREADS=1 python -m benchmarks.spatial_encoder [--rounds 5]

Both run in turn, round by round, on the same features: those of one image of 1024 x 768, and of 8 crops of 256 x 192. A
step is forward and backward; the ratio is of the fastest round of each. One convolution over all rows at once, which is
no recurrence and does a quarter of the multiplications, is the floor that is printed beside them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from components.counters.shared.spatial_encoder import CHANNELS, SpatialEncoder

SHAPES = {"1 x 1024 x 768": (1, CHANNELS, 96, 128), "8 x 256 x 192": (8, CHANNELS, 24, 32)}


def plain(encoder: SpatialEncoder, features: Tensor) -> Tensor:
    """The encoder's definition, slice by slice: (B, C, H, W) -> (B, C, H, W)."""
    for convolution, axis in ((encoder.along_rows, 2), (encoder.along_columns, 3)):
        slices = list(features.split(1, axis))
        for place in range(1, len(slices)):
            slices[place] = slices[place] + convolution(slices[place - 1]).relu()
        for place in range(len(slices) - 2, -1, -1):
            slices[place] = slices[place] + convolution(slices[place + 1]).relu()
        features = torch.cat(slices, axis)
    return features


def compare(name: str, shape: tuple[int, ...], rounds: int) -> None:
    """Print one row of the table."""
    encoder, features = SpatialEncoder(), torch.rand(shape).requires_grad_()
    ways: list[Callable[[], Tensor]] = [
        lambda: plain(encoder, features),
        lambda: encoder(features),
        lambda: encoder.along_rows(features),
    ]
    steps, forwards = [], []
    for _ in range(rounds):
        steps.append([seconds(lambda way=way: way().sum().backward()) for way in ways])
        with torch.no_grad():
            forwards.append([seconds(way) for way in ways])
    for what, times in (("step", steps), ("forward", forwards)):
        usual, ours, floor = (1000 * min(column) for column in zip(*times, strict=True))
        print(f"| {name:14} | {what:7} | {usual:9.1f} | {ours:8.1f} | {usual / ours:5.1f} | {floor:24.1f} |")


def seconds(function: Callable[[], object]) -> float:
    """CPU seconds: one thread, so that a busy machine changes them little."""
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print("| images         | what    | plain, ms | ours, ms | ratio | one convolution, all, ms |")
    print("|----------------|---------|----------:|---------:|------:|--------------------------:|")
    for name, shape in SHAPES.items():
        compare(name, shape, rounds)


if __name__ == "__main__":
    main()
