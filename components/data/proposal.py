"""A first study for a data set: what to set, and why, from what its images and dots are like.

What does not depend on the data stands in `study.yaml.j2`, as the study shanghaitech-b has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import yaml

from components.crowd import SPLITS
from components.data.inspect import Inspected, in_yaml, nearest_distances
from components.errors import UserError

TEMPLATE = Path(__file__).with_name("study.yaml.j2")
SIDES = (512, 768, 1024, 1536, 2048)  # pixels: longest sides of prepared images to choose from
APART = 8.0  # pixels between neighbouring heads: a cell of a counter of stride 8
SIGMA = 0.3  # bandwidth per distance between heads: Zhang et al., CVPR 2016, section 2.2
SMALLEST, LARGEST = 2.0, 16.0  # pixels: between these bandwidths
STEPS, BATCH, CROP = 1500, 4, (256, 384)  # as in the study shanghaitech-b, where there is enough data
FEWEST_EPOCHS, MOST_EPOCHS = 8, 100
MANY = 200  # training images: a tenth of them is enough for validation


class Measured(NamedTuple):
    """What a data set is like, in raw pixels. `width`, `height` and `apart` are medians."""

    images: dict[str, int]  # by the data set's own split; all are "train" where it has none
    width: float
    height: float
    longest: float  # side: only one image in twenty has a longer one
    apart: float | None  # of a head from the nearest other; None where no image shows two
    fewest: int  # dots in an image
    mean: float
    most: int
    perspective: bool
    scenes: int


class Proposal(NamedTuple):
    """The values of a study that depend on the data."""

    longest_side: int | None
    scale: float  # prepared pixels per raw pixel
    sigma: float
    crop: tuple[int, int]  # height, width
    batch_size: int
    epochs: int
    validate_every: int
    share: float  # of images, for each split that the data set does not have
    training: int  # about how many images are left to train on

    @property
    def steps(self) -> int:
        return self.epochs * -(-self.training // self.batch_size)


def measure(found: Inspected) -> Measured:
    """What the images and dots of a data set are like."""
    rows = found.rows
    splits = [row["split"] if found.published else "train" for row in rows]
    counts = [len(row["x"]) for row in rows]
    distances = np.concatenate([nearest_distances(np.column_stack([row["x"], row["y"]])) for row in rows])
    return Measured(
        images={split: splits.count(split) for split in SPLITS if split in splits},
        width=float(np.median([row["width"] for row in rows])),
        height=float(np.median([row["height"] for row in rows])),
        longest=float(np.quantile([max(row["width"], row["height"]) for row in rows], 0.95)),
        apart=float(np.median(distances)) if len(distances) else None,
        fewest=min(counts),
        mean=sum(counts) / len(counts),
        most=max(counts),
        perspective=any(row["perspective"] is not None for row in rows),
        scenes=len({row["scene"] for row in rows}),
    )


def propose(data: Measured) -> Proposal:
    """What a first study would set. Raises UserError: nobody is to be seen, or too few images to divide."""
    if data.most == 0:
        raise UserError("no image has a dot: there is nothing to learn from")
    available, share = data.images.get("train", 0), 0.1 if data.images.get("train", 0) >= MANY else 0.2
    training = available - sum(max(1, round(share * available)) for _ in missing_splits(data))
    if training < 2:
        raise UserError(f"only {available} images can be divided into train, val and test: give more")
    longest_side = _longest_side(data)
    scale = min(1.0, longest_side / data.longest) if longest_side else 1.0
    batch_size = min(BATCH, training)
    epochs = min(max(FEWEST_EPOCHS, -(-STEPS * batch_size // training)), MOST_EPOCHS)
    return Proposal(
        longest_side=longest_side,
        scale=scale,
        sigma=_sigma(data.apart, scale),
        crop=_crop(data, scale),
        batch_size=batch_size,
        epochs=epochs,
        validate_every=max(1, epochs // 8),
        share=share,
        training=training,
    )


def study_yaml(name: str, found: Inspected, data: Measured, chosen: Proposal) -> str:
    """The whole `study.yaml`, each value with the reason for it."""
    split: dict[str, Any] = dict.fromkeys(missing_splits(data), chosen.share) | {"seed": 0}
    if data.scenes > 1 and not found.published:
        split["group"] = "scene"
    halves = ", ".join(f"{number} {split} images" for split, number in data.images.items())
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(TEMPLATE.read_text()).render(
        name=name,
        title=yaml.safe_dump(f"Counting in {found.source.options.get('root', found.source.kind)}", width=10_000)
        .removesuffix("...\n")
        .strip(),
        source=in_yaml(found.source),
        halves=halves if found.published else f"{data.images['train']} images without halves",
        lost=sum(problem.lost for problem in found.problems),
        cut=missing_splits(data),
        split=split,
        split_yaml=yaml.safe_dump(split, default_flow_style=True, sort_keys=False).strip(),
        sigma_share=SIGMA,
        sigma_range=f"{SMALLEST:g} to {LARGEST:g}",
        data=data,
        chosen=chosen,
    )


def missing_splits(data: Measured) -> list[str]:
    """The splits that have to be cut from the training images."""
    return [split for split in ("val", "test") if split not in data.images]


def _longest_side(data: Measured) -> int | None:
    """The smallest side on which neighbouring heads are `APART`; None where images are not larger than that."""
    for side in SIDES:
        if side >= data.longest:
            return None
        if data.apart is None or data.apart * side / data.longest >= APART:
            return side
    return SIDES[-1]


def _sigma(apart: float | None, scale: float) -> float:
    """In whole halves of a pixel."""
    return 4.0 if apart is None else min(max(SMALLEST, round(2 * SIGMA * apart * scale) / 2), LARGEST)


def _crop(data: Measured, scale: float) -> tuple[int, int]:
    """Height and width: about three quarters of an image, in whole cells of 32 pixels, and at most `CROP`."""
    height, width = (max(64, round(0.75 * scale * side) // 32 * 32) for side in (data.height, data.width))
    most = CROP if width >= height else CROP[::-1]
    return min(height, most[0]), min(width, most[1])
