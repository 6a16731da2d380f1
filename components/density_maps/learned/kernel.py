"""A kernel for each square of the image, predicted from its pixels; each dot adds the kernel of the square it is in.

Wan, Wang, Chan, "Kernel-based Density Map Generation for Dense Object Counting", TPAMI 2020. Four 3 x 3 convolutions,
each followed by 2 x 2 max pooling and a leaky ReLU (theirs in the other order: the same numbers from four times the
work), and a last one to s x s features, at 1/16: a kernel on the counter's grid for each square of 16 px. It is made
non-negative and sums to 1, so no second loss is needed. Their loss is `squared_error` with `cosine: 10`, at a target
scale of 1. The network runs only around the squares that hold dots: for ten people in a street, on a fifth of the
image.

Four things differ from the authors' code: a kernel is centred on its dot's cell, not above and left of it; kernels are
divided by their mass inside the image, or its region of interest, so each dot counts 1; a flat kernel stays flat, where
theirs is 0/0; and every image of a batch has its own kernels, where theirs all use those of the first image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from components.config.options import Optimiser, Options
from components.crowd import Crop, DensityMap, Window, cell_count, cells_of
from components.density_maps.crops import apply_with_margin, full_region, full_window, image_patches
from components.errors import UserError
from components.networks import Initialisation, Precision, autocast, in_bf16, initialise

FEATURES = (3, 32, 64, 128, 128)
SQUARE = 16  # pixels: side of the squares that share a kernel
CONTEXT = 31  # pixels around its square that a kernel depends on: 1 + 2 + 4 + 8 + 16, one cell of each convolution
EPSILON = (
    1e-6  # added to each cell of a kernel, so that a flat one, or one of which only the minimum is left, sums to 1
)


class Params(Options):
    """`positive`: "minimum" subtracts a kernel's smallest value. Then the kernel is divided by its sum."""

    side: int = Field(9, ge=5, le=15, description="cells of the counter's grid, odd")
    positive: Literal["minimum", "softmax"] = Field("minimum", description="how a kernel is made non-negative")
    precision: Precision = Field("auto", description="of the convolutions; auto: bf16 if the processor has it")
    update_every: int = Field(1, ge=1, description="the map learns in every n-th epoch")
    warm_up: int = Field(150, ge=0, description="steps alone towards the annotation map, before the counter starts")
    warm_up_lr: float = Field(1e-3, gt=0, description="learning rate of these steps")
    initialisation: Initialisation = Field("he", description="of the weights; normal: N(0, 0.01), default: PyTorch's")
    optimiser: Optimiser = Optimiser(lr=1e-4)

    @field_validator("side")
    @classmethod
    def _odd(cls, side: int) -> int:
        if side % 2 == 0:
            raise UserError(f"{side} is even, so the kernel has no middle cell; write {side - 1}")
        return side


PRESETS = {
    "paper": {
        "warm_up": 0,
        "initialisation": "normal",
        "precision": "fp32",
        "optimiser": {"kind": "adam", "lr": 1e-7},
    }
}


def build(params: Params, stride: int, scale: float) -> KernelMap:
    return KernelMap(params, stride, scale)


class KernelMap(DensityMap):
    """Makes maps of dots and of the image's pixels around them."""

    def __init__(self, params: Params, stride: int, scale: float) -> None:
        super().__init__(params, stride, scale)
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(FEATURES):
            layers += [nn.Conv2d(narrow, wide, 3), nn.MaxPool2d(2), nn.LeakyReLU(0.01, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(FEATURES[-1], params.side**2, 3))  # without padding
        initialise(self, params.initialisation)

    def forward(self, crops: Sequence[Crop]) -> Tensor:
        """The maps of crops, (B, 1, h, w) people per cell times `scale`: each equals the whole image's map, cut.

        The margin is the reach of a kernel. The grid of 16 px keeps the squares of the whole image."""
        reach = self.params.side // 2 * self.stride
        return apply_with_margin(self._run, crops, reach, self.stride, SQUARE)

    def _run(self, crops: Sequence[Crop]) -> Tensor:
        """The maps of crops of one size, from the dots that they hold.

        D is the number of dots in all crops; a cell is (column, row), a square (index of the crop, row, column)."""
        side, per_crop = self.params.side, [self._dots(crop) for crop in crops]
        image_cells, cells, sizes = (torch.cat(each) for each in zip(*per_crop, strict=True))
        owners = torch.repeat_interleave(torch.tensor([len(each) for each, _, _ in per_crop])).to(cells.device)
        squares = torch.cat([owners[:, None], (cells * self.stride // SQUARE).flip(1)], dim=1)
        mask = kernel_mask(image_cells, sizes, side)
        kernels = normalised(self.features(crops, squares).view_as(mask), mask, self.params.positive)
        if any(crop.region is not None for crop in crops):
            pairs = zip(crops, per_crop, strict=True)
            inside = torch.cat([kernel_patches(full_region(crop), each, side) for crop, (each, *_) in pairs])
            kernels = kernels / (kernels * inside).sum(dim=(1, 2), keepdim=True).clamp(min=EPSILON)
        window = crops[0].window
        shape = (len(crops), window.height // self.stride, window.width // self.stride)
        return self.scale * add_kernels(kernels, cells, owners, shape)

    def features(self, crops: Sequence[Crop], squares: Tensor) -> Tensor:
        """The network's features (D, s x s) of squares (D, 3): index of the crop, row and column in it.

        It runs on blocks of squares, with CONTEXT around each, and only on blocks with squares that are asked for.
        Outside the image every layer sees zeros."""
        window = crops[0].window
        rows_per_block, columns_per_block = block_size(squares, (window.height // SQUARE, window.width // SQUARE))
        blocks, block_of_square = (squares // squares.new_tensor([1, rows_per_block, columns_per_block])).unique(
            dim=0, return_inverse=True
        )
        owners, rows, columns = blocks.unbind(dim=1)
        height, width = SQUARE * rows_per_block, SQUARE * columns_per_block
        images = image_patches([crop.at(_with_context(crop.window, height, width)) for crop in crops])
        pieces = images.unfold(2, height + 2 * CONTEXT, height).unfold(3, width + 2 * CONTEXT, width)
        corners = squares.new_tensor([[crop.window.top, crop.window.left] for crop in crops])[owners]
        corners = corners + torch.stack([height * rows, width * columns], dim=1)
        limits = [full_window(crop.size, SQUARE) for crop in crops]
        ends = squares.new_tensor([[limit.height, limit.width] for limit in limits])[owners]
        with autocast(in_bf16(self.params.precision, images.device), images.device):
            maps = self._convolve(pieces[owners, :, rows, columns], corners, ends).to(images.dtype)
        return maps[block_of_square, :, squares[:, 1] % rows_per_block, squares[:, 2] % columns_per_block]

    def _convolve(self, pieces: Tensor, corners: Tensor, ends: Tensor) -> Tensor:
        """The network on pieces (N, 3, H, W) of images: blocks whose corners are at (N, 2), with CONTEXT around them.

        The images end at (N, 2); all in rows and columns of pixels."""
        maps = pieces.contiguous(memory_format=torch.channels_last)
        for index, layer in enumerate(self.layers):
            scale = 2 ** (index // 3)
            if scale > 1 and isinstance(layer, nn.Conv2d):
                starts = corners // scale - ((CONTEXT + 1) // scale - 1)
                maps = maps * image_mask(starts, ends // scale, (maps.shape[2], maps.shape[3]))[:, None]
            maps = layer(maps)
        return maps

    def _dots(self, crop: Crop) -> tuple[Tensor, Tensor, Tensor]:
        """The cells (column, row) of the D dots in a crop's window, in the image and in the window, and for each dot
        the size of the image in cells; (D, 2) each."""
        window, cells = crop.window, cells_of(crop.dots, crop.size, self.stride)
        corner, opposite, size = (
            cells.new_tensor([cell_count(x, self.stride), cell_count(y, self.stride)])
            for y, x in (
                (window.top, window.left),
                (window.top + window.height, window.left + window.width),
                crop.size,
            )
        )
        cells = cells[((cells >= corner) & (cells < opposite)).all(dim=1)]
        return cells, cells - corner, size.expand_as(cells)


def block_size(squares: Tensor, grid: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the blocks of squares that are cheapest to compute, with CONTEXT around each block.

    Few dots get a block each, many dots one for all the squares of a window; `grid` is the window's size in squares."""
    squares = squares.cpu()  # once, not for every size
    powers = range(max(grid).bit_length() + 1)
    sizes = [(min(2**power, grid[0]), min(2**power, grid[1])) for power in powers]

    def pixels(size: tuple[int, int]) -> int:
        blocks = len((squares // squares.new_tensor([1, *size])).unique(dim=0))
        return blocks * (SQUARE * size[0] + 2 * CONTEXT) * (SQUARE * size[1] + 2 * CONTEXT)

    return min(sizes, key=pixels)


def _with_context(window: Window, height: int, width: int) -> Window:
    """`window` in whole blocks of height x width pixels, with CONTEXT around them."""
    tall, wide = cell_count(window.height, height) * height, cell_count(window.width, width) * width
    return Window(window.top - CONTEXT, window.left - CONTEXT, tall + 2 * CONTEXT, wide + 2 * CONTEXT)


def image_mask(starts: Tensor, ends: Tensor, shape: tuple[int, int]) -> Tensor:
    """Which cells of N pieces of `shape` lie inside their images: (N, h, w) bool.

    `starts` (N, 2) are row and column of the pieces' first cells, `ends` (N, 2) those at which the images end."""
    steps = (torch.arange(length, device=starts.device) for length in shape)
    rows, columns = (starts[:, axis, None] + step for axis, step in enumerate(steps))
    inside_rows = (rows >= 0) & (rows < ends[:, 0, None])
    inside_columns = (columns >= 0) & (columns < ends[:, 1, None])
    return inside_rows[:, :, None] & inside_columns[:, None, :]


def kernel_mask(cells: Tensor, sizes: Tensor, side: int) -> Tensor:
    """Which cells of kernels, centred on cells (D, 2) of images of sizes (D, 2), lie inside the image: (D, s, s) bool.

    Cells and sizes are (column, row) and (width, height)."""
    return image_mask((cells - side // 2).flip(1), sizes.flip(1), (side, side))


def kernel_patches(region: Tensor, cells: Tensor, side: int) -> Tensor:
    """The parts of a region mask (h, w) under kernels centred on cells (D, 2): (D, s, s), 0 outside the image."""
    columns, rows = cells.unbind(dim=1)
    return functional.pad(region, (side // 2,) * 4).unfold(0, side, 1).unfold(1, side, 1)[rows, columns]


def normalised(features: Tensor, mask: Tensor, positive: str) -> Tensor:
    """Kernels (D, s, s) from features (D, s, s): non-negative, 0 outside the mask, and with sum 1."""
    if positive == "softmax":
        return features.masked_fill(~mask, -torch.inf).flatten(1).softmax(dim=1).view_as(features)
    values = (features - features.amin(dim=(1, 2), keepdim=True) + EPSILON) * mask
    return values / values.sum(dim=(1, 2), keepdim=True)


def add_kernels(kernels: Tensor, cells: Tensor, owners: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Maps (B, 1, h, w) of `shape` (B, h, w): the sum of kernels (D, s, s), centred on cells (D, 2) of maps `owners`
    (D,). What reaches out of a map is cut off."""
    (count, height, width), side = shape, kernels.shape[-1]
    reach, steps = side // 2, torch.arange(side, device=cells.device)
    tall, wide = height + side - 1, width + side - 1  # maps with a margin for what reaches out
    rows = owners[:, None] * tall + cells[:, 1:] + steps
    indices = rows[:, :, None] * wide + (cells[:, :1] + steps)[:, None, :]
    padded = kernels.new_zeros(count * tall * wide).index_add(0, indices.flatten(), kernels.flatten())
    return padded.view(count, 1, tall, wide)[:, :, reach : reach + height, reach : reach + width]
