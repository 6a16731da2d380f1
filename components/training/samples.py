"""Prepared files -> crop, flip -> Batch.

The order of the images and each one's crop and flip are functions of (seed, epoch, place), so they are the same for
every method, after a resume, and for any number of workers, of which each takes its share of every batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import TypeVar

import numpy as np
import torch

from components.crowd import CELL, Batch, Window, block_sum, cells
from components.data.manifest import Prepared, Row
from components.data.packed import Pack
from components.density_maps.crops import whole
from components.evaluation.score import Scene

T = TypeVar("T")
PAD_COLOUR = np.array((124, 116, 104), np.uint8)  # ImageNet's mean: zero after standardisation
TRAINING, WARM_UP, OUTER = 0, 1, 2  # streams of random numbers: drawing from one leaves the other as it was


class Samples:
    """One split of a prepared data set with one annotation map, as a counter of `stride` reads it."""

    def __init__(
        self,
        prepared: Prepared,
        maps: Pack,
        split: str,
        *,
        stride: int,
        crop: tuple[int, int] | None = None,
        flip: bool = False,
        seed: int = 0,
    ) -> None:
        self.rows, self.images, self.maps = prepared.split(split), prepared.images, maps
        self.region = partial(prepared.region, side=stride)
        self.stride, self.crop, self.flip, self.seed = stride, crop, flip, seed

    def __len__(self) -> int:
        return len(self.rows)

    def batches(
        self, epoch: int, batch_size: int, *, rank: int = 0, workers: int = 1, stream: int = TRAINING
    ) -> Iterator[tuple[Batch | None, int]]:
        """This worker's share of each batch of an epoch (None where a last, small batch has none for it), and the
        number of images in the whole batch."""
        order = np.random.default_rng([self.seed, stream, epoch]).permutation(len(self.rows))
        for start in range(0, len(order), batch_size):
            places = range(start, min(start + batch_size, len(order)))
            mine = [(int(order[place]), (self.seed, stream, epoch, place)) for place in places[rank::workers]]
            yield (self._batch(mine) if mine else None), len(places)

    def endless(self, batch_size: int, stream: int) -> Iterator[tuple[Batch, int]]:
        """Batches of one worker, epoch after epoch."""
        for epoch in count():
            for batch, size in self.batches(epoch, batch_size, stream=stream):
                assert batch is not None
                yield batch, size

    def whole(self, index: int) -> Batch:
        """One whole image, not flipped."""
        size = (self.rows[index].height, self.rows[index].width)
        return self._stack([self._cut(self.rows[index], size, whole(size, self.stride), flipped=False)])

    def scored(self, indices: Iterable[int]) -> Iterator[Scene]:
        """Whole images, for `components.evaluation.score`."""
        for index in indices:
            row = self.rows[index]
            yield Scene(row.id, self.images[row.number], row.dots, self.region(row), row.scene)

    def _batch(self, places: list[tuple[int, tuple[int, int, int, int]]]) -> Batch:
        return self._stack([self._sample(self.rows[index], np.random.default_rng(key)) for index, key in places])

    def _sample(self, row: Row, random: np.random.Generator) -> Batch:
        size = self._canvas(row)
        corner, flipped = random.random(2), bool(random.random() < 0.5) and self.flip
        limit = whole(size, self.stride)
        if self.crop is None:
            return self._cut(row, size, limit, flipped)
        free = ((limit.height - self.crop[0]) // self.stride, (limit.width - self.crop[1]) // self.stride)
        top, left = (int(share * (steps + 1)) * self.stride for share, steps in zip(corner, free, strict=True))
        return self._cut(row, size, Window(top, left, *self.crop), flipped)

    def _canvas(self, row: Row) -> tuple[int, int]:
        """An image smaller than the crop stands in the corner of a canvas of the crop's size."""
        if self.crop is None:
            return row.height, row.width
        return max(row.height, self.crop[0]), max(row.width, self.crop[1])

    def _cut(self, row: Row, size: tuple[int, int], window: Window, flipped: bool) -> Batch:
        image = _padded(self.images[row.number], window)
        annotation = block_sum(self.maps[row.number], self.stride // CELL)
        short = [(0, cells(side, self.stride) - have) for side, have in zip(size, annotation.shape, strict=True)]
        return Batch(
            images=torch.from_numpy(np.array(image[:, ::-1] if flipped else image)).permute(2, 0, 1)[None],
            flipped=torch.tensor([flipped]),
            numbers=[row.number],
            windows=[window],
            sizes=[size],
            dots=[torch.from_numpy(row.dots)],
            annotations=[torch.from_numpy(np.pad(annotation, short))],
            photographs=[self.images[row.number]],
            regions=[] if (region := self.region(row)) is None else [torch.from_numpy(np.pad(region, short))],
        )

    def _stack(self, samples: list[Batch]) -> Batch:
        return Batch(
            images=torch.cat([sample.images for sample in samples]),
            flipped=torch.cat([sample.flipped for sample in samples]),
            numbers=[sample.numbers[0] for sample in samples],
            windows=[sample.windows[0] for sample in samples],
            sizes=[sample.sizes[0] for sample in samples],
            dots=[sample.dots[0] for sample in samples],
            annotations=[sample.annotations[0] for sample in samples],
            photographs=[sample.photographs[0] for sample in samples],
            regions=[region for sample in samples for region in sample.regions],
        )


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, the next one made in a thread while this one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="samples") as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def _padded(image: np.ndarray, window: Window) -> np.ndarray:
    """`window` of an image (H, W, 3); where it reaches over the border, the padding colour."""
    part = image[window.top : window.top + window.height, window.left : window.left + window.width]
    if part.shape[:2] == (window.height, window.width):
        return part
    canvas = np.broadcast_to(PAD_COLOUR, (window.height, window.width, 3)).copy()
    canvas[: part.shape[0], : part.shape[1]] = part
    return canvas
