"""The field's words as types: dots, samples, batches, and what a counter and a data set are.

Coordinates are pixel *edges*: an image of width W spans x = 0 to W, pixel i covers [i, i + 1). A flip maps x to W - x,
a resize multiplies, and a dot on the far edge still belongs to the last pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

OWN = "its own initialisation"  # what a counter that was given no weights starts from
SPLITS = ("train", "val", "test")
CELL = 4  # pixels: side of the cells on which annotation maps are stored, the finest grid that a counter reads


class Problem(NamedTuple):
    """Something wrong in raw data: which file, what, and what was done about it."""

    file: str
    what: str
    action: str


@dataclass(frozen=True)
class RawSample:
    """One image of a raw data set: where it lies, its dots, and the split that the data set itself names, if any.

    Dots, region and perspective speak of the image as it is seen: turned as its EXIF orientation says."""

    id: str
    image: object  # a path, or an array (H, W, 3) uint8 that the data set made
    dots: np.ndarray  # (N, 2) float64: x, y in pixels
    split: str | None = None  # "train", "val" or "test" where the data set is published so divided
    roi: np.ndarray | None = None  # (H, W) bool: the region of interest; people outside it are not counted
    perspective: np.ndarray | None = None  # (H, W) float64: pixels per metre of a person who is there
    scene: str = ""  # where a data set is scored scene by scene


@runtime_checkable
class Dataset(Protocol):
    """A raw layout on disk, or a maker of images: `build(Params)` of a file in `components/datasets`."""

    def __len__(self) -> int:
        """How many samples there are at most: some may turn out to be unreadable."""

    def samples(self, problems: list[Problem]) -> Iterator[RawSample]:
        """Yield every readable sample in a fixed order; append to `problems` what cannot be used, and why."""


@dataclass(frozen=True)
class Window:
    """A rectangle of an image, in pixels: its top-left corner and its size."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Batch:
    """What one step of training reads: crops of B images of one size, and what is known of the whole images.

    Maps are made for whole images and cut, so nothing here is flipped but `images`; `flipped` says which.
    """

    images: Tensor  # (B, 3, H, W) uint8, RGB
    flipped: Tensor  # (B,) bool: the crop is mirrored left to right, and so must its map be
    numbers: list[int]  # of the whole images, in their data set
    windows: list[Window]  # the crops, in pixels of the whole images
    sizes: list[tuple[int, int]]  # (height, width) of the whole images
    dots: list[Tensor]  # B x (N, 2) float64: all dots of the whole images
    annotations: list[Tensor]  # B x (h, w) float32: whole maps on the counter's grid, people per cell
    photographs: list[np.ndarray] = field(default_factory=list)  # B x (H, W, 3) uint8: whole images, on disk until used
    regions: list[Tensor] = field(default_factory=list)  # B x (h, w) float32: shares of cells that count; or none

    def only(self, index: int) -> Batch:
        """The batch of one of its images."""
        at = slice(index, index + 1)
        return Batch(
            self.images[at],
            self.flipped[at],
            self.numbers[at],
            self.windows[at],
            self.sizes[at],
            self.dots[at],
            self.annotations[at],
            self.photographs[at],
            self.regions[at],
        )

    def to(self, device: torch.device) -> Batch:
        """The same batch, its tensors on `device`."""
        move = partial(Tensor.to, device=device, non_blocking=True)
        return replace(
            self,
            images=move(self.images),
            flipped=move(self.flipped),
            dots=[move(each) for each in self.dots],
            annotations=[move(each) for each in self.annotations],
            regions=[move(each) for each in self.regions],
        )


class Counter(nn.Module):
    """Maps RGB images (B, 3, H, W) in 0..1 to density maps (B, 1, ceil(H/stride), ceil(W/stride))."""

    stride: int
    params: Any  # its options, among them `optimiser`

    def start(self) -> str:
        """Load the weights that its options name, before training, and say what it starts from."""
        return OWN


class DensityMap(nn.Module):
    """Makes what a counter learns from: maps of windows of a batch, (B, 1, h, w) people per cell times `scale`."""

    params: Any  # its options; those of a map that learns have `optimiser`, `update_every`, `warm_up`, `warm_up_lr`
    looks_ahead: int | None  # steps between updates by `components.training.bilevel`; none: learns from the losses

    def __init__(self, params: Any, stride: int, scale: float) -> None:
        super().__init__()
        self.looks_ahead = None
        self.params, self.stride, self.scale = params, stride, scale

    def refinement_loss(self, maps: Tensor, batch: Batch, windows: list[Window]) -> Tensor:
        """The second loss of equations (3) and (7), (B,), weighted with alpha or beta; without one, 0."""
        return maps.new_zeros(len(maps))


class CountingLoss(Protocol):
    """What `build(Params, stride, scale)` of a file in `components/losses` returns; `scale` is the target scale.

    `drawn`: whether the loss compares with a density map. One that reads the dots alone gets no map, and no density
    map is made or trained for it. `title`: its name in tables."""

    drawn: bool
    title: str

    def __call__(self, predicted: Tensor, maps: Tensor | None, batch: Batch) -> Tensor:
        """The loss of each image, (B,). `predicted` and `maps` (B, 1, h, w) are people per cell of `stride` pixels
        times `scale`, on the crops as the counter saw them: mirrored where `batch.flipped` says so."""


def cells(pixels: int, side: int = CELL) -> int:
    """How many cells of `side` pixels cover `pixels`: the last one may reach over the image's border."""
    return -(-pixels // side)


def dot_map(dots: Tensor, size: tuple[int, int], window: Window, side: int = 1) -> Tensor:
    """(h, w) float32: 1 added in the cell of every dot (N, 2) within the window, which may reach outside the image.

    Cells are squares of `side` pixels, on whose grid the window lies."""
    shape = (cells(window.height, side), cells(window.width, side))
    places = cells_of(dots, size, side) - dots.new_tensor([window.left // side, window.top // side]).long()
    inside = (places >= 0).all(dim=1) & (places < dots.new_tensor([shape[1], shape[0]])).all(dim=1)
    columns, rows = places[inside].unbind(dim=1)
    ones = torch.ones(len(rows), device=dots.device)
    return ones.new_zeros(shape).index_put((rows, columns), ones, accumulate=True)


def cells_of(dots: Tensor, size: tuple[int, int], side: int) -> Tensor:
    """(N, 2) int64, column and row of the cell of each dot; one on the image's far edge belongs to the last cell."""
    last = dots.new_tensor([cells(size[1], side) - 1, cells(size[0], side) - 1])
    return torch.minimum((dots / side).floor(), last).long()


def pad_to(images: Tensor, multiple: int) -> Tensor:
    """Zero-pad (B, C, H, W) at the bottom and the right until both sides are multiples of `multiple`."""
    height, width = images.shape[-2:]
    return functional.pad(images, (0, -width % multiple, 0, -height % multiple))


def block_sum(maps: np.ndarray, factor: int) -> np.ndarray:
    """Sum (h, w) over blocks of factor x factor, padding with zeros: the only way in which a map is scaled down."""
    height, width = maps.shape
    padded = np.pad(maps, ((0, -height % factor), (0, -width % factor)))
    rows, columns = padded.shape[0] // factor, padded.shape[1] // factor
    return padded.reshape(rows, factor, columns, factor).sum(axis=(1, 3))
