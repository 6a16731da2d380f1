"""A kernel for every place of the image, predicted from its pixels; each dot adds the kernel of the place where it is.

Wan, Wang, Chan, "Kernel-based Density Map Generation for Dense Object Counting", TPAMI 2020. Four 3 x 3 convolutions,
each with a 2 x 2 maximum and a leaky ReLU behind it (theirs in the other order: the same numbers from four times the
work), and a last one to s x s features, at 1/16: a kernel on the counter's grid for each square of 16 px. It is made
non-negative and sums to 1, so no second loss is needed. Their loss is `squared_error` with `cosine: 10`, at a target
scale of 1. The net runs where dots are, on what it sees there: for ten people in a street, on a fifth of the image.

Four things are otherwise than in the authors' code: a kernel lies centred on its dot's cell, and not up and left of it;
what the border of the image, or of its region of interest, cuts off comes back, so each dot weighs 1; a flat kernel
stays flat, where theirs is 0/0; and every image of a batch has its own kernels, where theirs all have the first one's.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from components.config.options import Optimiser, Options
from components.crowd import Batch, DensityMap, Window, cells, cells_of
from components.density_maps.crops import photographs, run_wider, whole
from components.errors import UserError
from components.networks import Initialisation, Precision, autocast, in_bf16, initialise

FEATURES = (3, 32, 64, 128, 128)
PLACE = 16  # pixels: side of the squares that share a kernel
FIELD = 31  # pixels around its square that a kernel depends on: 1 + 2 + 4 + 8 + 16, a cell of each convolution
TINY = 1e-6  # added to each cell of a kernel: one that is flat, or has but its smallest cell inside, stays whole


class Params(Options):
    """`positive`: how a kernel is made non-negative before it is divided by its sum."""

    side: int = Field(9, ge=5, le=15, description="cells of the counter's grid, odd")
    positive: Literal["minimum", "softmax"] = "minimum"
    precision: Precision = Field("auto", description="of the convolutions; auto: bf16 where the processor has it")
    update_every: int = Field(1, ge=1)
    warm_up: int = Field(150, ge=0, description="steps alone towards the annotation map, before the counter starts")
    warm_up_lr: float = Field(1e-3, gt=0)
    initialisation: Initialisation = "he"
    optimiser: Optimiser = Optimiser(lr=1e-4)

    @field_validator("side")
    @classmethod
    def _odd(cls, side: int) -> int:
        if side % 2 == 0:
            raise UserError(f"{side} is even, and such a kernel has no cell in its middle; write {side - 1}")
        return side


PRESETS = {
    "paper": {
        "warm_up": 0,
        "initialisation": "normal",
        "precision": "fp32",
        "optimiser": {"kind": "adam", "lr": 1e-7},
    }
}


def build(params: Params, stride: int, scale: float) -> Kernels:
    return Kernels(params, stride, scale)


class Kernels(DensityMap):
    """Photographs and dots in, maps (B, 1, h, w) out, in people per cell times `scale`."""

    def __init__(self, params: Params, stride: int, scale: float) -> None:
        super().__init__(params, stride, scale)
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(FEATURES):
            layers += [nn.Conv2d(narrow, wide, 3), nn.MaxPool2d(2), nn.LeakyReLU(0.01, inplace=True)]
        self.layers = nn.Sequential(
            *layers, nn.Conv2d(FEATURES[-1], params.side**2, 3)
        )  # `predicted` brings what lies around
        initialise(self, params.initialisation)

    def forward(self, batch: Batch, windows: list[Window]) -> Tensor:
        """The maps of a batch at `windows`, (B, 1, h, w): those of the whole images, cut.

        The net sees squares of 16 px as they lie in the whole image, and as far around as a kernel depends on."""
        reach = self.params.side // 2 * self.stride
        return run_wider(partial(self._run, batch), batch, windows, reach, self.stride, PLACE)

    def _run(self, batch: Batch, numbers: list[int], windows: list[Window]) -> Tensor:
        found = [self._dots(batch, *pair) for pair in zip(numbers, windows, strict=True)]
        on, here, limits = (torch.cat(each) for each in zip(*found, strict=True))
        which = torch.repeat_interleave(torch.tensor([len(each) for each, _, _ in found])).to(on.device)
        places = torch.cat([which[:, None], (here * self.stride // PLACE).flip(1)], dim=1)
        reached = within(on, limits, self.params.side)
        predicted = self.predicted(batch, numbers, windows, places).view_as(reached)
        kernels = normalised(predicted, reached, self.params.positive)
        if batch.regions:
            own = zip(numbers, found, strict=True)
            shares = torch.cat([around(batch.regions[number], each, self.params.side) for number, (each, *_) in own])
            kernels = kernels / (kernels * shares).sum(dim=(1, 2), keepdim=True).clamp(min=TINY)
        shape = (len(numbers), windows[0].height // self.stride, windows[0].width // self.stride)
        return self.scale * added(kernels, here, which, shape)

    def predicted(self, batch: Batch, numbers: list[int], windows: list[Window], places: Tensor) -> Tensor:
        """The net's features (D, s x s) at places (D, 3): which of the windows, and row and column of a square in it.

        It runs on blocks of squares in which there are places, and on FIELD around each. Outside the image every
        layer sees zeros."""
        high, wide = block_sides(places, (windows[0].height // PLACE, windows[0].width // PLACE))
        blocks, own = (places // places.new_tensor([1, high, wide])).unique(dim=0, return_inverse=True)
        which, rows, columns = blocks.unbind(dim=1)
        tall, broad = PLACE * high, PLACE * wide
        images = photographs(batch, numbers, [_wider(window, tall, broad) for window in windows])
        tiles = images.unfold(2, tall + 2 * FIELD, tall).unfold(3, broad + 2 * FIELD, broad)[which, :, rows, columns]
        corners = places.new_tensor([[window.top, window.left] for window in windows])[which]
        corners = corners + torch.stack([tall * rows, broad * columns], dim=1)
        limits = [whole(batch.sizes[number], PLACE) for number in numbers]
        ends = places.new_tensor([[limit.height, limit.width] for limit in limits])[which]
        with autocast(in_bf16(self.params.precision, images.device), images.device):
            made = self._run_inside(tiles, corners, ends).to(images.dtype)
        return made[own, :, places[:, 1] % high, places[:, 2] % wide]

    def _run_inside(self, tiles: Tensor, corners: Tensor, ends: Tensor) -> Tensor:
        """The net on tiles (N, 3, H, W), FIELD wider than blocks at `corners` (N, 2) of images that end at (N, 2)."""
        maps = tiles.contiguous(memory_format=torch.channels_last)
        for number, layer in enumerate(self.layers):
            scale = 2 ** (number // 3)
            if scale > 1 and isinstance(layer, nn.Conv2d):
                starts = corners // scale - ((FIELD + 1) // scale - 1)
                maps = maps * inside(starts, ends // scale, (maps.shape[2], maps.shape[3]))[:, None]
            maps = layer(maps)
        return maps

    def _dots(self, batch: Batch, number: int, window: Window) -> tuple[Tensor, Tensor, Tensor]:
        """Of an image's D dots in the window, (D, 2) each, x and y in cells: where they are in the image and in the
        window, and how large the image is."""
        on = cells_of(batch.dots[number], batch.sizes[number], self.stride)
        corner, opposite, limit = (
            on.new_tensor([cells(x, self.stride), cells(y, self.stride)])
            for y, x in (
                (window.top, window.left),
                (window.top + window.height, window.left + window.width),
                batch.sizes[number],
            )
        )
        on = on[((on >= corner) & (on < opposite)).all(dim=1)]
        return on, on - corner, limit.expand_as(on)


def block_sides(places: Tensor, squares: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the blocks of squares that cost least, with what lies around them: few dots have each their
    own, many one for all the squares of a window."""
    places = places.cpu()  # once, and not for every size
    most = max(squares).bit_length()
    sides = [(min(2**power, squares[0]), min(2**power, squares[1])) for power in range(most + 1)]

    def pixels(side: tuple[int, int]) -> int:
        count = len((places // places.new_tensor([1, *side])).unique(dim=0))
        return count * (PLACE * side[0] + 2 * FIELD) * (PLACE * side[1] + 2 * FIELD)

    return min(sides, key=pixels)


def _wider(window: Window, tall: int, broad: int) -> Window:
    """As many blocks as `window` needs, and FIELD around them."""
    height, width = cells(window.height, tall) * tall, cells(window.width, broad) * broad
    return Window(window.top - FIELD, window.left - FIELD, height + 2 * FIELD, width + 2 * FIELD)


def inside(starts: Tensor, ends: Tensor, shape: tuple[int, int]) -> Tensor:
    """(N, h, w) bool: which cells of N pieces lie in images whose rows and columns end at (N, 2).

    `starts` (N, 2) are the rows and columns of the pieces' first cells."""
    rows, columns = (_between(starts[:, axis, None], ends[:, axis, None], shape[axis]) for axis in (0, 1))
    return rows[:, :, None] & columns[:, None, :]


def _between(start: Tensor, end: Tensor, length: int) -> Tensor:
    reached = start + torch.arange(length, device=start.device)
    return (reached >= 0) & (reached < end)


def within(on: Tensor, limits: Tensor, side: int) -> Tensor:
    """(D, s, s) bool: the cells of kernels, centred on cells (D, 2), that lie inside images of (D, 2) cells."""
    return inside((on - side // 2).flip(1), limits.flip(1), (side, side))


def around(region: Tensor, on: Tensor, side: int) -> Tensor:
    """A region's shares (h, w) under kernels centred on cells (D, 2): (D, s, s), and 0 outside the image."""
    columns, rows = on.unbind(dim=1)
    return functional.pad(region, (side // 2,) * 4).unfold(0, side, 1).unfold(1, side, 1)[rows, columns]


def normalised(predicted: Tensor, inside: Tensor, positive: str) -> Tensor:
    """(D, s, s) -> (D, s, s): non-negative, 0 where not `inside`, and with sum 1."""
    if positive == "softmax":
        return predicted.masked_fill(~inside, -torch.inf).flatten(1).softmax(dim=1).view_as(predicted)
    above = (predicted - predicted.amin(dim=(1, 2), keepdim=True) + TINY) * inside
    return above / above.sum(dim=(1, 2), keepdim=True)


def added(kernels: Tensor, here: Tensor, which: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Maps (B, 1, h, w) of `shape` with kernels (D, s, s), centred on cells `here` (D, 2) of maps `which` (D,)."""
    (count, height, width), side = shape, kernels.shape[-1]
    across, reach, steps = width + side - 1, side // 2, torch.arange(side, device=here.device)
    rows = which[:, None] * (height + side - 1) + here[:, 1:] + steps  # on maps wider by the kernels' reach
    places = rows[:, :, None] * across + (here[:, :1] + steps)[:, None, :]
    wider = kernels.new_zeros(count * (height + side - 1) * across).index_add(0, places.flatten(), kernels.flatten())
    return wider.view(count, 1, -1, across)[:, :, reach : reach + height, reach : reach + width]
