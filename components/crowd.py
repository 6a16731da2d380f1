"""The types that all packages share: samples, crops, batches, and what a data set, a counter, a map and a loss are.

Coordinates are pixel *edges*: an image of width W spans x = 0 to W, pixel i covers [i, i + 1). A flip maps x to
W - x, a resize multiplies, and a dot on the far edge still belongs to the last pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

RANDOM_INITIALISATION = "random initialisation"  # what a counter without pretrained weights starts from
SPLITS = ("train", "val", "test")
SHARE = "share_"  # begins the names under which an epoch's record has the mean shares of a mixture, by bandwidth
Maps = TypeVar("Maps", np.ndarray, Tensor)
CELL = 4  # pixels: side of the cells on which annotation maps are stored, the finest grid that a counter reads


ProblemId = Literal[  # stable names of the kinds of problems, for programs
    "other",
    "image-unusable",  # cannot be decoded, or its region or perspective map does not fit
    "image-unlisted",  # no annotation says anything of it
    "image-missing",  # an annotation of an image that is not there
    "image-listed-twice",
    "annotations-unusable",  # a file, or all that it says of one image
    "labels-unknown",  # labels were asked for that nothing has
    "record-invalid",  # one row, shape or entry that says nothing usable
    "shape-not-counted",  # one that is no point, or no object of its own
    "dots-invalid",  # their place is not a number: the image is left out
    "dots-outside",  # of the image: they are dropped
    "dots-outside-region",
    "copy-dropped",  # an image of one half that is held out in another
    "copy-kept",
    "dots-coincide",
    "dots-touching",  # pixels of an image of dots that may be one person or several
    "size-differs",  # the annotations are of an image of another size: dots were scaled
    "halves-undeclared",  # folders are called like halves, but are read as one set
    "count-differs",  # the file says another number than it has dots
    "perspective-unknown",
]
NOTHING_LOST: frozenset[ProblemId] = frozenset(
    {
        "copy-kept",
        "dots-coincide",
        "dots-touching",
        "size-differs",
        "halves-undeclared",
        "count-differs",
        "perspective-unknown",
    }
)


class Problem(NamedTuple):
    """Something wrong in raw data: which file, what, what was done about it, and the kind of the problem."""

    file: str
    what: str
    action: str
    id: ProblemId = "other"

    @property
    def lost(self) -> bool:
        """Whether an image or a dot is not used because of it, or may be so."""
        return self.id not in NOTHING_LOST


@dataclass(frozen=True)
class RawSample:
    """One image of a raw data set: its pixels, its dots, and the split in which the data set publishes it, if any.

    Dots, region and perspective refer to the image after it was turned as its EXIF orientation says."""

    id: str
    image: object  # a path, or an array (H, W, 3) uint8 that the data set made
    dots: np.ndarray  # (N, 2) float64: x, y in pixels
    split: str | None = None  # "train", "val" or "test" if the data set is published with splits
    roi: np.ndarray | None = None  # (H, W) bool: the region of interest; people outside are not counted
    perspective: np.ndarray | None = None  # (H, W) float64: pixels per metre at each pixel
    scene: str = ""  # in data sets that are scored scene by scene


@runtime_checkable
class Dataset(Protocol):
    """A raw layout on disk, or a generator of images: `build(Params)` of a file in `components/datasets`."""

    def __len__(self) -> int:
        """The largest possible number of samples: some may turn out to be unreadable."""

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
class Crop:
    """A window of one image, and what is known of the whole image that it is cut from.

    Coordinates, maps and regions are those of the image as it is, never mirrored: `flipped` says that the counter sees
    the crop mirrored left to right, and that its map must be mirrored too."""

    number: int  # of the image in its data set
    window: Window
    size: tuple[int, int]  # (height, width) of the whole image; of the canvas of one that is smaller than the crop
    dots: Tensor  # (N, 2) float64: all dots of the whole image, x and y in pixels
    annotation: Tensor  # (h, w) float32: the whole annotation map on the counter's grid, people per cell
    region: Tensor | None = None  # (h, w) float32 in 0..1: the share of each cell that lies in the region of interest
    image: np.ndarray | None = None  # (H, W, 3) uint8: the whole image, memory-mapped until it is used
    flipped: bool = False
    resized: bool = False  # by augmentation: another image of the same number may have another size
    features: Tensor | None = None  # (F, h, w) float32: what the counter's last layer sees of the window, not mirrored

    def at(self, window: Window) -> Crop:
        """Another window of the same image, of which no features are known."""
        return replace(self, window=window, features=None)

    def to(self, device: torch.device) -> Crop:
        """The same crop, its tensors on `device`."""
        move = partial(Tensor.to, device=device, non_blocking=True)
        region = None if self.region is None else move(self.region)
        return replace(self, dots=move(self.dots), annotation=move(self.annotation), region=region)


@dataclass(frozen=True)
class Batch:
    """What one training step reads: B crops of one size, and their pixels as the counter sees them."""

    images: Tensor  # (B, 3, H, W) uint8, RGB, mirrored where the crop is `flipped`
    crops: list[Crop]

    def to(self, device: torch.device) -> Batch:
        """The same batch, its tensors on `device`."""
        return Batch(self.images.to(device, non_blocking=True), [crop.to(device) for crop in self.crops])


class Counter(nn.Module):
    """Maps RGB images (B, 3, H, W) in 0..1 to outputs (B, C, ceil(H/stride), ceil(W/stride)).

    The loss says how many channels C there are, and how they become people per cell (`CountingLoss.people`)."""

    stride: int
    params: Any  # its options, among them `optimiser`

    def load_pretrained(self) -> str:
        """Load the weights that the options name, before training; return a few words on what training starts from.

        Raises UserError where these weights cannot be had."""
        return RANDOM_INITIALISATION

    def last_layer(self) -> nn.Conv2d | None:
        """The layer that makes the map, by default the one named `output`; None if there is none.

        A density map may read what this layer sees: features (B, F, h, w) at 1/stride."""
        layer = getattr(self, "output", None)
        return layer if isinstance(layer, nn.Conv2d) else None


class DensityMap(nn.Module):
    """Makes the maps from which a counter learns: (B, 1, h, w) people per cell times `scale`, one for each crop.

    `forward` takes a sequence of crops, whose `flipped` it ignores."""

    params: Any  # its options; those of a map that learns have `optimiser`, `update_every`, `warm_up`, `warm_up_lr`
    bilevel_every: int | None  # steps between updates by `components.training.bilevel`; None: learns from the losses
    bilevel_inner: Literal["sgd", "adam"]  # the step of the counter through which these updates look
    reads_features: bool  # whether `forward` needs the `features` of crops

    def __init__(self, params: Any, stride: int, scale: float) -> None:
        super().__init__()
        self.bilevel_every, self.bilevel_inner, self.reads_features = None, "sgd", False
        self.params, self.stride, self.scale = params, stride, scale

    def attach(self, counter: Counter) -> None:
        """Make ready to be trained beside `counter`: called once, before any training.

        Raises UserError where an option of the map asks for something that this counter does not have."""

    def measure(self, crops: Sequence[Crop]) -> dict[str, float]:
        """What a run's record says of maps of whole images, besides the collapse alarms: numbers by name."""
        return {}

    def refinement_loss(self, maps: Tensor, crops: Sequence[Crop]) -> Tensor:
        """The second loss of equations (3) and (7), (B,), weighted with alpha or beta; 0 for a map that has none."""
        return maps.new_zeros(len(maps))


class CountingLoss(Protocol):
    """What `build(Params, stride, scale)` of a file in `components/losses` returns; `scale` is the target scale.

    `uses_density_map`: whether the loss compares with a density map. One that reads the dots alone gets no map, and no
    density map is made or trained for it. `title`: its name in tables. `channels`: how many the counter must give;
    a loss that is built without its counter's stride and scale knows these three too."""

    uses_density_map: bool
    title: str
    channels: int

    def people(self, outputs: Tensor) -> Tensor:
        """Outputs of the counter (B, channels, h, w) -> (B, 1, h, w) people per cell times `scale`. One channel may
        be that itself."""

    def __call__(
        self, outputs: Tensor, maps: Tensor | None, crops: Sequence[Crop], regions: Tensor | None = None
    ) -> Tensor:
        """The loss of each image, (B,), from outputs (B, channels, h, w) on the crops as the counter saw them: mirrored
        where a crop is `flipped`, and so are `maps` and `regions`.

        `maps` (B, 1, h, w) are people per cell of `stride` pixels times `scale`. `regions` (B, 1, h, w) are the shares
        of cells that lie in the region of interest (None: all of every cell); people outside have no effect."""


def cell_count(pixels: int, side: int = CELL) -> int:
    """The number of cells of `side` pixels that cover `pixels`; the last one may reach over the image's border."""
    return -(-pixels // side)


def dot_map(dots: Tensor, size: tuple[int, int], window: Window, side: int = 1) -> Tensor:
    """The number of dots (N, 2) in each cell of a window, (h, w) float32; the window may reach outside the image.

    Cells are squares of `side` pixels, and the window starts on their grid."""
    shape = (cell_count(window.height, side), cell_count(window.width, side))
    positions = cells_of(dots, size, side) - dots.new_tensor([window.left // side, window.top // side]).long()
    inside = (positions >= 0).all(dim=1) & (positions < dots.new_tensor([shape[1], shape[0]])).all(dim=1)
    columns, rows = positions[inside].unbind(dim=1)
    ones = torch.ones(len(rows), device=dots.device)
    return ones.new_zeros(shape).index_put((rows, columns), ones, accumulate=True)


def cells_of(dots: Tensor, size: tuple[int, int], side: int) -> Tensor:
    """Column and row of the cell of each dot (N, 2), (N, 2) int64; a dot on the far edge belongs to the last cell."""
    last = dots.new_tensor([cell_count(size[1], side) - 1, cell_count(size[0], side) - 1])
    return torch.minimum((dots / side).floor(), last).long()


def apply_region_mask(people: Maps, region: Maps | None) -> Maps:
    """Maps of people (..., h, w) times the share of each cell that lies in the region of interest; None: all of it."""
    return people if region is None else people * region


def pad_to(images: Tensor, multiple: int) -> Tensor:
    """Zero-pad (B, C, H, W) at the bottom and the right until both sides are multiples of `multiple`."""
    height, width = images.shape[-2:]
    return functional.pad(images, (0, -width % multiple, 0, -height % multiple))


def block_sums(maps: Tensor, side: int) -> Tensor:
    """Sums of maps (B, C, h, w) over blocks of side x side cells, padded with zeros; exact for whole numbers."""
    return functional.avg_pool2d(pad_to(maps, side), side, divisor_override=1)


def block_sum(maps: np.ndarray, factor: int) -> np.ndarray:
    """Sum (h, w) over blocks of factor x factor, padding with zeros. This is the only way to scale a map down."""
    height, width = maps.shape
    padded = np.pad(maps, ((0, -height % factor), (0, -width % factor)))
    rows, columns = padded.shape[0] // factor, padded.shape[1] // factor
    return np.asarray(padded.reshape(rows, factor, columns, factor).sum(axis=(1, 3)))
