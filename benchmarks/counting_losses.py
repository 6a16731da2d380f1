"""A step of training with each counting loss against the plain one's: `python -m benchmarks.counting_losses`.

MCNN, one crop of 384 x 512, 100 and 500 dots. All losses take their steps in turn, so that a noisy machine is noisy for
all of them; the ratio is of the fastest step of each."""

from __future__ import annotations

import argparse
import time

import torch

from components.config.plugins import kinds
from components.crowd import Batch, Crop, Window
from components.density_maps.gaussian import draw
from components.training.assemble import assemble
from components.training.joint import JointModel
from components.training.optimisers import build_optimisers
from tests import crowds

CROP = (384, 512)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dots", type=int, nargs="+", default=[100, 500])
    options = parser.parse_args()
    torch.set_num_threads(1)
    models = {kind: assemble(crowds.plan(loss={"kind": kind}), seed=0) for kind in kinds("loss")}
    for people in options.dots:
        batch = made(people)
        rounds = [{kind: step(model, batch) for kind, model in models.items()} for _ in range(options.rounds)]
        fastest = {kind: min(seconds[kind] for seconds in rounds) for kind in models}
        for kind, seconds in fastest.items():
            ratio = seconds / fastest["squared_error"]
            print(f"{people:4} dots  {kind:14} {1000 * seconds:7.0f} ms a step, {ratio:.2f} times the plain one")


def made(people: int) -> Batch:
    """One crop of noise, which is its whole image, with dots at random places."""
    torch.manual_seed(0)
    dots = torch.rand(people, 2, dtype=torch.float64) * torch.tensor([CROP[1], CROP[0]])
    crop = Crop(0, Window(0, 0, *CROP), CROP, dots, draw(dots, 4.0, CROP))
    return Batch(torch.randint(0, 256, (1, 3, *CROP), dtype=torch.uint8), [crop])


def step(model: JointModel, batch: Batch) -> float:
    """Seconds of one update of the counter."""
    optimiser = build_optimisers(model)["counter"]
    started = time.perf_counter()
    optimiser.zero_grad()
    model(batch, learn_maps=False).counting.sum().backward()
    optimiser.step()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
