"""MCNN with published weights on ShanghaiTech A's training half, through our reader, network and score.

    python -m benchmarks.published_mcnn [--data ../shared/data] [--images 300]

An independent script measured MAE 103.76 and RMSE 178.88 with this checkpoint (mcnn_weights/mcnn_shtechA_660.h5) on all
300 images; ours must agree within 0.1. It scales images down to sides that are multiples of 4 and has a ReLU behind
its last convolution: we pad images up, and print both with and without the ReLU. An image is a line on stderr."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from components.config import plugins
from components.config.options import Choice
from components.counters.mcnn import MCNN
from components.data.decode import prepare_images
from components.datasets.shanghaitech import Params, build
from components.evaluation.metrics.mae import mean_absolute_error
from components.evaluation.metrics.rmse import root_mean_squared_error
from components.evaluation.score import EvalImage, score

PUBLISHED, WITHIN = (103.76, 178.88), 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--images", type=int, default=300)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = published(arguments.data)
    clipped: list[float] = []
    scores = score(lambda image: count(network, image, clipped), images(arguments.data, arguments.images), MCNN.stride)
    truth = np.array([each.truth for each in scores])
    errors = report("with its ReLU", truth, np.array(clipped))
    report("without", truth, np.array([each.prediction for each in scores]))
    if len(scores) == 300:
        agrees = all(abs(ours - theirs) <= WITHIN for ours, theirs in zip(errors, PUBLISHED, strict=True))
        print(f"needed with its ReLU: {PUBLISHED} within {WITHIN}: {'reached' if agrees else 'MISSED'}")
        sys.exit(0 if agrees else 1)


def published(data: Path) -> MCNN:
    """MCNN as the checkpoint's authors trained it, but for the ReLU at the end."""
    weights = str(data / "mcnn_weights" / "mcnn_shtechA_660.h5")
    choice = Choice(kind="mcnn", channels=1, pixels="bytes", weights=weights)
    network = plugins.build("counter", "mcnn", plugins.resolve("counter", choice, "counter"))
    network.load_pretrained()
    return network.to(memory_format=torch.channels_last)


def images(data: Path, number: int) -> Iterator[EvalImage]:
    """The first training images."""
    dataset = build(Params(root=data / "shanghaitech", part="A"))
    for image in islice(prepare_images(dataset, None, []), number):
        yield EvalImage(image.id, image.pixels, image.dots)


def count(network: MCNN, image: np.ndarray, clipped: list[float]) -> np.ndarray:
    """The map (h, w) of an image (H, W, 3) uint8; its sum with negative cells set to 0 is appended to `clipped`."""
    with torch.no_grad():
        people = network(torch.from_numpy(image.transpose(2, 0, 1).copy())[None] / 255)[0, 0].numpy()
    clipped.append(float(people.clip(min=0).sum(dtype=np.float64)))
    print(f"{len(clipped)}: {people.sum():.2f} people, {clipped[-1]:.2f} with the ReLU", file=sys.stderr)
    return people


def report(what: str, truth: np.ndarray, people: np.ndarray) -> tuple[float, float]:
    """Print MAE and RMSE of counts (n,)."""
    errors = float(mean_absolute_error(truth, people)), float(root_mean_squared_error(truth, people))
    print(f"{len(truth)} images, {what}: MAE {errors[0]:.2f}, RMSE {errors[1]:.2f}")
    return errors


if __name__ == "__main__":
    main()
