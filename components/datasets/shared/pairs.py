"""Data sets in which every image has a file of its own with its dots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.crowd import Problem, RawSample
from components.datasets.shared.files import natural
from components.errors import UserError

ReadDots = Callable[[Path, list[Problem]], np.ndarray]


class Pair(NamedTuple):
    """An image and the file with its dots; what is missing is None.

    `rivals` are other images of the same name but for the suffix: which one was annotated cannot be told."""

    id: str
    split: str | None
    image: Path | None
    truth: Path | None
    scene: str = ""
    rivals: tuple[Path, ...] = ()


def pair_up(images: dict[str, list[Path]], truths: dict[str, Path], split: str | None = None) -> list[Pair]:
    """Images and files of dots by their common name, in the order of the numbers in it; ids start with the split."""
    start = f"{split}-" if split else ""
    names = sorted({*images, *truths}, key=natural)
    return [paired(start + name, split, images.get(name, []), truths.get(name)) for name in names]


def paired(name: str, split: str | None, images: list[Path], truth: Path | None) -> Pair:
    """The images of one name, of which there should be one, and the file with their dots."""
    return Pair(name, split, images[0] if images else None, truth, rivals=tuple(images[1:]))


class Pairs:
    """Raises UserError, which says where and for what layout was looked, when no image has its dots."""

    truth = ".mat"  # what the file with the dots is called in problems

    def __init__(self, pairs: list[Pair], read_dots: ReadDots, where: str, layout: str) -> None:
        if not any(pair.image and pair.truth for pair in pairs):
            raise UserError(f"{where} has no image with its dots: looked for {layout}")
        self.pairs, self.read_dots, self.where = pairs, read_dots, where

    def __len__(self) -> int:
        return len(self.pairs)

    def samples(self, problems: list[Problem]) -> Iterator[RawSample]:
        """Images in the order of the pairs; one without a readable file of dots is left out, and so is a lone file."""
        for pair in self.pairs:
            if pair.image is None and pair.truth is None:
                continue  # only a list names it
            if pair.image is None or pair.truth is None:
                problems.append(self._lone(pair))
                continue
            if pair.rivals:
                same = " and ".join(path.name for path in pair.rivals)
                problems.append(
                    Problem(
                        str(pair.image), f"has the name of {same}", "left out; keep one of them", "image-listed-twice"
                    )
                )
                continue
            try:
                yield self.sample(pair, problems)
            except UserError as error:
                problems.append(Problem(str(pair.truth), str(error), "the image is left out", "annotations-unusable"))

    def sample(self, pair: Pair, problems: list[Problem]) -> RawSample:
        """One sample of a whole pair. Raises UserError: the file of dots cannot be read."""
        assert pair.truth is not None
        return RawSample(pair.id, pair.image, self.read_dots(pair.truth, problems), pair.split, scene=pair.scene)

    def _lone(self, pair: Pair) -> Problem:
        if pair.image is not None:
            return Problem(str(pair.image), f"has no {self.truth} with its dots", "left out", "image-unlisted")
        return Problem(str(pair.truth), "has no image", "left out", "image-missing")
