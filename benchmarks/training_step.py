"""A training step against a bare PyTorch loop over the same tensors, and how long it waits for data.

    python -m benchmarks.training_step [--rounds 5] [--threads 1]

MCNN with the `fixed` map on made images of 256 x 192, crops of 144 x 192, batches of 4. Both loops run the same batches
in turn, round by round, so that a noisy machine is noisy for both; the ratio is of the fastest round of each."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

from components.config.study import Training
from components.crowd import Batch
from components.training.assemble import assemble, open_data, samples
from components.training.epoch import Communicator, train_epoch
from components.training.joint import JointModel, flip
from components.training.optimisers import build_optimisers
from tests import crowds

IMAGES = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        made = crowds.write(Path(folder), [(192, 256)] * IMAGES + [(192, 256)], ["train"] * IMAGES + ["val"])
        plan = crowds.plan(epochs=options.rounds, batch_size=4, crop=[144, 192])
        training = samples(plan, 0, open_data(*made), 4)[0]
        ours, bare, waited = [], [], []
        for epoch in range(1, options.rounds + 1):
            bare.append(bare_epoch(assemble(plan, 0), [batch for batch, _ in training.batches(epoch, 4) if batch]))
            seconds, share = our_epoch(assemble(plan, 0), training, plan.training, epoch)
            ours.append(seconds)
            waited.append(share)
    steps = IMAGES // 4
    print(f"bare loop  {1000 * min(bare) / steps:7.1f} ms a step")
    slower, waiting = min(ours) / min(bare), sorted(waited)[len(waited) // 2]
    print(f"fit        {1000 * min(ours) / steps:7.1f} ms a step, {slower:.3f} times as long; allowed: 1.1")
    print(f"waiting    {100 * waiting:7.2f} % of the time of a step (median round)")
    sys.exit(slower > 1.1 or waiting > 0.05)


def our_epoch(model: JointModel, training, options: Training, epoch: int) -> tuple[float, float]:
    record = train_epoch(model, build_optimisers(model), training, options, epoch, Communicator(), lambda epochs: None)
    return record["seconds"], record["waiting"]


def bare_epoch(model: JointModel, batches: list[Batch]) -> float:
    """The same updates, written out: tensors that are ready, network, squared error, backward, Adam."""
    network, optimiser = model.counter, torch.optim.Adam(model.counter.parameters(), lr=3e-4)
    ready = [(batch.images, flip(model.density_map(batch.crops), batch.crops)) for batch in batches]
    started = time.perf_counter()
    for images, maps in ready:
        optimiser.zero_grad()
        loss = (network(images / 255) - maps).square().sum() / len(images)
        loss.backward()
        optimiser.step()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
