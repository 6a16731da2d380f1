"""The generator's networks tile by tile: the same maps, up to rounding, in less time and memory.

Nearly all of a step's work and memory lies in 128 features at every pixel. Here these exist for one tile at a time,
which fits a processor's cache, and the backward pass computes them again, for 7 % more multiply-adds. In bf16, which is
for speed and takes half the room, they are kept: about twice the memory of fp32.

Where no dots are near, the blurred maps are zero, and so is their product with any attention, which is not computed
there. The fusion of zeros is computed once; its gradient is the sum over all tiles that share it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from components.crowd import Window
from components.networks import autocast

RADIUS = 3  # cells of the blurred maps: how far the layers that run on tiles see, at most, beyond a tile
Edges = tuple[
    int, int, int, int
]  # left, right, top, bottom: 1 where a tile lies on the image's border, which is padded with zeros


class Tile(NamedTuple):
    """`occupied`: the maps are not zero everywhere in the tile and within RADIUS of it."""

    window: Window
    edges: Edges
    occupied: bool

    @property
    def key(self) -> tuple[object, ...]:
        """Tiles with equal keys have equal results: an occupied tile is unique, empty ones differ by size and edges."""
        return self if self.occupied else (self.window.height, self.window.width, self.edges)


def attend(attention: nn.Sequential, guide: Tensor, blurred: Tensor, *, bf16: bool = False) -> Tensor:
    """A x B of equation (6), (1, k, H, W): B are blurred maps, A the attention of `guide` (1, C, H, W)."""
    grid = tile_grid(blurred)
    distinct = {tile.key: tile for row in grid for tile in row}
    tiles, layers = [*distinct.values()], [*attention]
    guides, pieces = _pieces(guide, tiles, RADIUS), _pieces(blurred, tiles, 0)
    results = {
        tile.key: layers[-1](_run(layers[:-1], 3, near, tile.edges, bf16)) * piece if tile.occupied else piece
        for tile, near, piece in zip(tiles, guides, pieces, strict=True)
    }
    return _joined(grid, results)


def fuse(fusion: nn.Sequential, weighted: Tensor, *, bf16: bool = False) -> Tensor:
    """Equation (6): (1, k, H, W) -> (1, 1, H / f, W / f), where f is 2 to the number of poolings.

    The third convolution and what follows, of few features, run on the whole map, in fp32."""
    grid = tile_grid(weighted)
    distinct = {tile.key: tile for row in grid for tile in row}
    tiles, layers = [*distinct.values()], [*fusion]
    _, second, third, _ = (index for index, layer in enumerate(layers) if isinstance(layer, nn.Conv2d))
    radius = RADIUS if isinstance(layers[second - 1], nn.AvgPool2d) else 2
    results = {
        tile.key: _run(layers[:third], second + 1, piece, tile.edges, bf16)
        for tile, piece in zip(tiles, _pieces(weighted, tiles, radius), strict=True)
    }
    maps: Tensor = fusion[third:](_joined(grid, results))
    return maps


def _joined(grid: list[list[Tile]], results: dict[tuple[object, ...], Tensor]) -> Tensor:
    return torch.cat([torch.cat([results[tile.key] for tile in row], dim=3) for row in grid], dim=2)


def tile_grid(maps: Tensor) -> list[list[Tile]]:
    """The tiles of maps (1, k, H, W), row by row.

    Their side is 64 cells on a CPU, so that 128 features of a tile stay in the cache; elsewhere 512, so that the start
    of each layer costs little. What is left at the end and narrower than RADIUS belongs to the tile before it, which
    otherwise would end less than RADIUS from the border without lying on it."""
    height, width = maps.shape[-2:]
    side = 64 if maps.device.type == "cpu" else 512
    grid: list[list[Tile]] = []
    for (top, tall), occupied_row in zip(_sections(height, side), _occupied(maps, side), strict=False):
        grid.append([])
        for (left, wide), occupied in zip(_sections(width, side), occupied_row, strict=False):
            edges = (int(left == 0), int(left + wide == width), int(top == 0), int(top + tall == height))
            grid[-1].append(Tile(Window(top, left, tall, wide), edges, occupied))
    return grid


def _sections(length: int, side: int) -> list[tuple[int, int]]:
    """Start and length of the tiles along one axis."""
    starts = [start for start in range(0, length, side) if start == 0 or length - start >= RADIUS]
    return [(start, end - start) for start, end in pairwise([*starts, length])]


def _occupied(maps: Tensor, side: int) -> list[list[bool]]:
    """For each tile of (1, k, H, W), row by row: whether anything in it or within RADIUS of it is not zero.

    There may be a row or a column too many: that of a narrow rest, which lies within RADIUS of the tile before it."""
    filled = (maps.detach() != 0).any(dim=1, keepdim=True).float()
    pooled = functional.max_pool2d(filled, side + 2 * RADIUS, side, RADIUS, ceil_mode=True)
    occupied: list[list[bool]] = pooled[0, 0].bool().tolist()
    return occupied


def _pieces(maps: Tensor, tiles: list[Tile], radius: int) -> tuple[Tensor, ...]:
    """Tiles, and what lies within `radius` of each, out of (1, C, H, W)."""
    pieces: tuple[Tensor, ...] = _Pieces.apply(maps, [_around(tile.window, radius) for tile in tiles])  # type: ignore[no-untyped-call]
    return pieces


def _around(window: Window, radius: int) -> tuple[slice, slice]:
    rows = slice(max(window.top - radius, 0), window.top + window.height + radius)
    return rows, slice(max(window.left - radius, 0), window.left + window.width + radius)


class _Pieces(torch.autograd.Function):
    """Many overlapping pieces of one tensor. With plain slices autograd would add up as many whole-size gradients."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, areas: list[tuple[slice, slice]]) -> tuple[Tensor, ...]:
        ctx.like, ctx.device, ctx.areas = torch.empty_like(maps, device="meta"), maps.device, areas
        ctx.set_materialize_grads(False)
        return tuple(maps[..., rows, columns].clone() for rows, columns in areas)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor, None]:
        total = torch.zeros_like(ctx.like, device=ctx.device)
        for (rows, columns), gradient in zip(ctx.areas, gradients, strict=True):
            if gradient is not None:
                total[..., rows, columns] += gradient
        return total, None


def _run(layers: list[nn.Module], recomputed: int, maps: Tensor, edges: Edges, bf16: bool) -> Tensor:
    """Apply `layers` to one tile. The outputs of the first `recomputed` layers, but for the last of them, are not kept
    and computed again in the backward pass; in bf16 all are kept."""
    if bf16 or not torch.is_grad_enabled():
        with autocast(bf16, maps.device):
            return _apply(layers, maps, edges).to(maps.dtype)
    features = checkpoint(_apply, layers[:recomputed], maps, edges, use_reentrant=False, preserve_rng_state=False)
    return _apply(layers[recomputed:], features, edges)


def _apply(layers: list[nn.Module], maps: Tensor, edges: Edges) -> Tensor:
    """Convolutions pad only at the image's border: elsewhere a tile brings a pixel of its surroundings for each."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            padded = functional.pad(maps, edges) if any(edges) else maps
            maps = functional.conv2d(padded, layer.weight, layer.bias)
        else:
            maps = layer(maps)
    return maps
