"""Reads prepared files, and cuts and flips them into batches.

The order of the images, and the crop, flip and augmentation of each, are functions of (seed, epoch, position in the
epoch). So they are the same for every method, after a resume, and for any number of workers; each worker reads its
share of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from components.config.study import Augmentation
from components.crowd import CELL, Batch, Crop, Window, block_sum, cell_count
from components.data.manifest import Prepared, Row
from components.data.packed import Pack
from components.density_maps.annotation import annotation_map
from components.density_maps.crops import full_window, padded
from components.density_maps.drawn import Kernel
from components.evaluation.score import EvalImage, eval_images
from components.training.augment import change_look, random_scale, resize

T = TypeVar("T")
UNCHANGED = Augmentation()
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
        augmentation: Augmentation = UNCHANGED,
        kernel: Kernel | None = None,
    ) -> None:
        """`kernel` draws the annotation maps of images that `augmentation` resizes."""
        self.prepared, self.rows, self.maps = prepared, prepared.split(split), maps
        self.stride, self.crop, self.flip, self.seed = stride, crop, flip, seed
        self.augmentation, self.kernel = augmentation, kernel

    def __len__(self) -> int:
        return len(self.rows)

    def batches(
        self, epoch: int, batch_size: int, *, rank: int = 0, workers: int = 1, stream: int = TRAINING, first: int = 0
    ) -> Iterator[tuple[Batch | None, int]]:
        """For each batch of an epoch, from number `first` on: this worker's share (None if a small last batch has none
        for it), and the number of images in the whole batch."""
        order = np.random.default_rng([self.seed, stream, epoch]).permutation(len(self.rows))
        for start in range(first * batch_size, len(order), batch_size):
            positions = range(start, min(start + batch_size, len(order)))
            parts = [
                self._random_crop(
                    self.rows[order[position]], np.random.default_rng([self.seed, stream, epoch, position])
                )
                for position in positions[rank::workers]
            ]
            batch = Batch(torch.cat([pixels for _, pixels in parts]), [crop for crop, _ in parts]) if parts else None
            yield batch, len(positions)

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
        annotation = block_sum(self.maps[row.number], self.stride // CELL)
        return self._crop(row, self.prepared.images[row.number], annotation, size, full_window(size, self.stride))

    def scored(self, indices: Iterable[int]) -> Iterator[EvalImage]:
        """Whole images, for `components.evaluation.score`."""
        return eval_images(self.prepared, (self.rows[index] for index in indices), self.stride)

    def _random_crop(self, row: Row, random: np.random.Generator) -> tuple[Crop, Tensor]:
        """A crop, and its pixels as the counter sees them, (1, 3, H, W) uint8.

        An image smaller than the crop lies in the top-left corner of a canvas of the crop's size. The rest of the
        canvas is outside its region of interest."""
        corner, flipped = random.random(2), bool(random.random() < 0.5) and self.flip
        row, image, annotation = self._resized(row, random)
        size = (row.height, row.width)
        if self.crop is None:
            window = full_window(size, self.stride)
        else:
            size = (max(row.height, self.crop[0]), max(row.width, self.crop[1]))
            limit = full_window(size, self.stride)
            free = ((limit.height - self.crop[0]) // self.stride, (limit.width - self.crop[1]) // self.stride)
            top, left = (int(share * (steps + 1)) * self.stride for share, steps in zip(corner, free, strict=True))
            window = Window(top, left, *self.crop)
        crop = self._crop(row, image, annotation, size, window, flipped)
        pixels = padded(image, window)
        if self.augmentation.changes_look:
            pixels = change_look(pixels, self.augmentation, random)
        pixels = np.array(pixels[:, ::-1] if flipped else pixels)
        return crop, torch.from_numpy(pixels).permute(2, 0, 1)[None]

    def _resized(self, row: Row, random: np.random.Generator) -> tuple[Row, np.ndarray, np.ndarray]:
        """A row, its image and its annotation map at the counter's stride; resized where the options say so."""
        if not self.augmentation.resizes:
            return row, self.prepared.images[row.number], block_sum(self.maps[row.number], self.stride // CELL)
        assert self.kernel is not None, "resized images need a kernel that draws their maps"
        row, image = resize(row, self.prepared.images[row.number], random_scale(self.augmentation, random))
        bandwidths = self.kernel.bandwidths(row.dots, row.perspective)
        return row, image, annotation_map(row, bandwidths, self.prepared.region(row, self.stride), self.stride)

    def _crop(
        self,
        row: Row,
        image: np.ndarray,
        annotation: np.ndarray,
        size: tuple[int, int],
        window: Window,
        flipped: bool = False,
    ) -> Crop:
        """A window of an image on a canvas of `size` (height, width), with all that belongs to it."""
        height, width = (cell_count(side, self.stride) for side in size)
        missing = [(0, height - annotation.shape[0]), (0, width - annotation.shape[1])]
        region = self.prepared.region(row, self.stride)
        if region is None and np.any(missing):
            region = np.ones_like(annotation)
        within = np.minimum(row.dots, np.nextafter((row.width, row.height), 0))  # not a dot on the edge of a canvas
        return Crop(
            number=row.number,
            window=window,
            size=size,
            dots=torch.from_numpy(within),
            annotation=torch.from_numpy(np.pad(annotation, missing)),
            region=None if region is None else torch.from_numpy(np.pad(region, missing)),
            image=image,
            flipped=flipped,
            resized=self.augmentation.resizes,
        )


def prefetch(items: Iterator[T]) -> Iterator[T]:
    """The same items; a thread makes the next one while this one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        following = pool.submit(next, items, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield item
