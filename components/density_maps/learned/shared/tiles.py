"""The generator's networks tile by tile: the same maps, to rounding, in less time and memory.

Nearly all of a step's work and memory lies in 128 features at every pixel of the image. Here these exist for one tile
at a time, which fits a processor's cache, and the backward pass makes them again, for 7 % more multiply-adds. In bf16,
which is for speed and takes half the room, they are kept: that is about twice the memory of fp32. Where no dots are
near, the blurred maps are zero. So is then their product with any attention, which is not made there; and what fusion
makes of zeros is made once, its gradient the sum over all tiles that share it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from components.crowd import Window
from components.networks import autocast

RADIUS = 3  # pixels: how far the layers that run on tiles see beyond one, of attention and of fusion
Edges = tuple[int, int, int, int]  # left, right, top, bottom: 1 where a tile lies on the border, and zeros go on


class Tile(NamedTuple):
    """`busy`: the maps are not zero everywhere in it and within RADIUS of it."""

    window: Window
    edges: Edges
    busy: bool

    @property
    def name(self) -> tuple[object, ...]:
        """Tiles of one name have one result: each busy one has its own, others differ by size and border alone."""
        return self if self.busy else (self.window.height, self.window.width, self.edges)


def attend(attention: nn.Sequential, seen: Tensor, blurred: Tensor, *, bf16: bool = False) -> Tensor:
    """Equation (5), weighted: A x B, (1, k, H, W), with the attention A that looks at `seen` (1, C, H, W)."""
    grid = _grid(blurred)
    distinct = {tile.name: tile for row in grid for tile in row}
    looked, own = (_pieces(maps, [*distinct.values()], radius) for maps, radius in ((seen, RADIUS), (blurred, 0)))
    made = {
        name: attention[-1](_run([*attention][:-1], 3, near, tile.edges, bf16)) * piece if tile.busy else piece
        for (name, tile), near, piece in zip(distinct.items(), looked, own, strict=True)
    }
    return _joined(grid, made)


def fuse(fusion: nn.Sequential, weighted: Tensor, *, bf16: bool = False) -> Tensor:
    """Equation (6): (1, k, H, W) -> (1, 1, H / stride, W / stride). Its last layers, on few cells, run on the whole, in
    fp32."""
    grid = _grid(weighted)
    distinct = {tile.name: tile for row in grid for tile in row}
    pieces = _pieces(weighted, [*distinct.values()], RADIUS)
    made = {
        name: _run([*fusion][:6], 4, piece, tile.edges, bf16)
        for (name, tile), piece in zip(distinct.items(), pieces, strict=True)
    }
    return fusion[6:](_joined(grid, made))


def _joined(grid: list[list[Tile]], made: dict[tuple[object, ...], Tensor]) -> Tensor:
    return torch.cat([torch.cat([made[tile.name] for tile in row], dim=3) for row in grid], dim=2)


def _grid(maps: Tensor) -> list[list[Tile]]:
    """The tiles of maps (1, k, H, W), row by row."""
    height, width = maps.shape[-2:]
    side = _side(maps.device)
    grid: list[list[Tile]] = []
    for top, line in zip(range(0, height, side), _busy(maps, side), strict=True):
        low = min(side, height - top)
        grid.append([])
        for left, busy in zip(range(0, width, side), line, strict=True):
            wide = min(side, width - left)
            edges = (int(left == 0), int(left + wide == width), int(top == 0), int(top + low == height))
            grid[-1].append(Tile(Window(top, left, low, wide), edges, busy))
    return grid


def _side(device: torch.device) -> int:
    """Pixels: on a CPU such that 128 features stay in the cache; elsewhere such that starting a layer costs little."""
    return 64 if device.type == "cpu" else 512


def _busy(maps: Tensor, side: int) -> list[list[bool]]:
    """Of (1, k, H, W), row by row, the tiles in or near which anything is not zero."""
    filled = (maps.detach() != 0).any(dim=1, keepdim=True).float()
    return functional.max_pool2d(filled, side + 2 * RADIUS, side, RADIUS, ceil_mode=True)[0, 0].bool().tolist()


def _pieces(maps: Tensor, tiles: list[Tile], radius: int) -> tuple[Tensor, ...]:
    """Tiles, and what lies within `radius` of each, out of (1, C, H, W)."""
    return _Pieces.apply(maps, [_around(tile.window, radius) for tile in tiles])


def _around(window: Window, radius: int) -> tuple[slice, slice]:
    rows = slice(max(window.top - radius, 0), window.top + window.height + radius)
    return rows, slice(max(window.left - radius, 0), window.left + window.width + radius)


class _Pieces(torch.autograd.Function):
    """Many overlapping pieces of one tensor. Autograd would add up as many gradients of the whole tensor."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, places: list[tuple[slice, slice]]) -> tuple[Tensor, ...]:
        ctx.like, ctx.device, ctx.places = torch.empty_like(maps, device="meta"), maps.device, places
        ctx.set_materialize_grads(False)
        return tuple(maps[..., rows, columns].clone() for rows, columns in places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor, None]:
        total = torch.zeros_like(ctx.like, device=ctx.device)
        for (rows, columns), gradient in zip(ctx.places, gradients, strict=True):
            if gradient is not None:
                total[..., rows, columns] += gradient
        return total, None


def _run(layers: list[nn.Module], light: int, maps: Tensor, edges: Edges, bf16: bool) -> Tensor:
    """`layers` on one tile. The first `light` of them are run again in the backward pass up to the last, instead of
    keeping what they made; in bf16 all is kept."""
    if bf16 or not torch.is_grad_enabled():
        with autocast(bf16, maps.device):
            return _layers(layers, maps, edges).to(maps.dtype)
    made = checkpoint(_layers, layers[:light], maps, edges, use_reentrant=False, preserve_rng_state=False)
    return _layers(layers[light:], made, edges)


def _layers(layers: list[nn.Module], maps: Tensor, edges: Edges) -> Tensor:
    """Convolutions pad at the image's border alone: elsewhere a tile brings what is around it, a pixel for each."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            padded = functional.pad(maps, edges) if any(edges) else maps
            maps = functional.conv2d(padded, layer.weight, layer.bias)
        else:
            maps = layer(maps)
    return maps
