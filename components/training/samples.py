"""Reads prepared files, and cuts and flips them into batches.

The order of the images, and the crop and flip of each, are functions of (seed, epoch, position in the epoch). So they
are the same for every method, after a resume, and for any number of workers; each worker reads its share of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from components.crowd import CELL, Batch, Crop, Window, block_sum, cell_count
from components.data.manifest import Prepared, Row
from components.data.packed import Pack
from components.density_maps.crops import full_window
from components.evaluation.score import EvalImage

T = TypeVar("T")
PAD_COLOUR = np.array((124, 116, 104), np.uint8)  # ImageNet's mean: zero after standardisation
TRAINING, WARM_UP, OUTER = 0, 1, 2  # independent streams of random numbers


class Samples:
    """One split of a prepared data set with one kind of annotation map, on the grid of a counter of `stride`."""

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
        """For each batch of an epoch: this worker's share (None if a small last batch has none for it), and the number
        of images in the whole batch."""
        order = np.random.default_rng([self.seed, stream, epoch]).permutation(len(self.rows))
        for start in range(0, len(order), batch_size):
            positions = range(start, min(start + batch_size, len(order)))
            crops = [
                self._random_crop(
                    self.rows[order[position]], np.random.default_rng([self.seed, stream, epoch, position])
                )
                for position in positions[rank::workers]
            ]
            yield (_as_batch(crops) if crops else None), len(positions)

    def endless(self, batch_size: int, stream: int) -> Iterator[tuple[Batch, int]]:
        """The whole batches of epoch after epoch, without end, and their sizes."""
        for epoch in count():
            for batch, size in self.batches(epoch, batch_size, stream=stream):
                assert batch is not None
                yield batch, size

    def full_crop(self, index: int) -> Crop:
        """One whole image, not flipped."""
        row = self.rows[index]
        size = (row.height, row.width)
        return self._crop(row, size, full_window(size, self.stride), flipped=False)

    def scored(self, indices: Iterable[int]) -> Iterator[EvalImage]:
        """Whole images, for `components.evaluation.score`."""
        for index in indices:
            row = self.rows[index]
            yield EvalImage(row.id, self.images[row.number], row.dots, self.region(row), row.scene)

    def _random_crop(self, row: Row, random: np.random.Generator) -> Crop:
        """An image smaller than the crop lies in the top-left corner of a canvas of the crop's size."""
        size = (row.height, row.width)
        corner, flipped = random.random(2), bool(random.random() < 0.5) and self.flip
        if self.crop is None:
            return self._crop(row, size, full_window(size, self.stride), flipped)
        size = (max(row.height, self.crop[0]), max(row.width, self.crop[1]))
        limit = full_window(size, self.stride)
        free = ((limit.height - self.crop[0]) // self.stride, (limit.width - self.crop[1]) // self.stride)
        top, left = (int(share * (steps + 1)) * self.stride for share, steps in zip(corner, free, strict=True))
        return self._crop(row, size, Window(top, left, *self.crop), flipped)

    def _crop(self, row: Row, size: tuple[int, int], window: Window, flipped: bool) -> Crop:
        annotation = block_sum(self.maps[row.number], self.stride // CELL)
        height, width = (cell_count(side, self.stride) for side in size)
        missing = [(0, height - annotation.shape[0]), (0, width - annotation.shape[1])]
        region = self.region(row)
        return Crop(
            number=row.number,
            window=window,
            size=size,
            dots=torch.from_numpy(row.dots),
            annotation=torch.from_numpy(np.pad(annotation, missing)),
            region=None if region is None else torch.from_numpy(np.pad(region, missing)),
            image=self.images[row.number],
            flipped=flipped,
        )


def prefetch(items: Iterator[T]) -> Iterator[T]:
    """The same items; a thread makes the next one while this one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        following = pool.submit(next, items, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield item


def _as_batch(crops: list[Crop]) -> Batch:
    return Batch(torch.cat([_pixels(crop) for crop in crops]), crops)


def _pixels(crop: Crop) -> Tensor:
    """The pixels of a crop as the counter sees them, (1, 3, H, W) uint8."""
    assert crop.image is not None
    pixels = _padded(crop.image, crop.window)
    return torch.from_numpy(np.array(pixels[:, ::-1] if crop.flipped else pixels)).permute(2, 0, 1)[None]


def _padded(image: np.ndarray, window: Window) -> np.ndarray:
    """`window` of an image (H, W, 3), with the padding colour where it reaches over the border."""
    part = image[window.top : window.top + window.height, window.left : window.left + window.width]
    if part.shape[:2] == (window.height, window.width):
        return part
    canvas = np.broadcast_to(PAD_COLOUR, (window.height, window.width, 3)).copy()
    canvas[: part.shape[0], : part.shape[1]] = part
    return canvas
