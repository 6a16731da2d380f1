"""A map of the whole image, cut: the same numbers at a fraction of the cost.

A network run on a crop sees zero padding where the image goes on, and over-counts whole images by 3-5 %. Run on the
crop plus a margin as wide as its receptive field, with the margin cut off after, it gives what it would have given on
the whole image. At the image's own border there is no margin: the zero padding there is real."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.crowd import Batch, Window, cells


def whole(size: tuple[int, int], stride: int) -> Window:
    """The window of all cells of an image (H, W): the last ones may reach over its border."""
    return Window(0, 0, cells(size[0], stride) * stride, cells(size[1], stride) * stride)


def with_margin(window: Window, size: tuple[int, int], margin: int, stride: int, grid: int | None = None) -> Window:
    """`window` grown by `margin` pixels or more on each side, but kept inside the image; same sizes give same sizes.

    It begins and ends on cells of `grid` pixels of the image, a multiple of the `stride` on which `window` lies."""
    grid = grid or stride
    limit, slack = whole(size, grid), grid - stride
    top, height = _grow(window.top, window.height + slack, limit.height, margin, grid)
    left, width = _grow(window.left, window.width + slack, limit.width, margin, grid)
    return Window(top, left, height, width)


def _grow(start: int, length: int, limit: int, margin: int, grid: int) -> tuple[int, int]:
    grown = min(cells(length + 2 * margin, grid) * grid, limit)
    return min(max((start - margin) // grid * grid, 0), limit - grown), grown


def cut(maps: Tensor, window: Window, inside: Window, stride: int) -> Tensor:
    """`window` out of maps (..., h, w) that cover `inside`; all in pixels, multiples of `stride`."""
    top, left = (window.top - inside.top) // stride, (window.left - inside.left) // stride
    return maps[..., top : top + window.height // stride, left : left + window.width // stride]


def annotation(batch: Batch, numbers: Sequence[int], windows: Sequence[Window], stride: int) -> Tensor:
    """The annotation maps of some images of a batch, cut at one window each: (B, 1, h, w) people per cell."""
    return torch.stack(
        [
            cut(batch.annotations[number][None], window, whole(batch.sizes[number], stride), stride)
            for number, window in zip(numbers, windows, strict=True)
        ]
    )


def regions(batch: Batch, numbers: Sequence[int], windows: Sequence[Window], stride: int) -> Tensor | None:
    """The share of each cell that counts, (B, 1, h, w), cut likewise; None where no image has a region of interest."""
    if not batch.regions:
        return None
    return torch.stack(
        [
            cut(batch.regions[number][None], window, whole(batch.sizes[number], stride), stride)
            for number, window in zip(numbers, windows, strict=True)
        ]
    )


def photographs(batch: Batch, numbers: Sequence[int], windows: Sequence[Window]) -> Tensor:
    """Some images of a batch, never flipped, cut at one window each: (B, 3, H, W) in -1..1.

    A window may reach over any border of its image: outside it is 0."""
    assert batch.photographs, "this map looks at the image, and the batch was made without"
    return torch.stack(
        [
            _photograph(batch.photographs[number], window).to(batch.dots[number].device)
            for number, window in zip(numbers, windows, strict=True)
        ]
    )


def _photograph(image: np.ndarray, window: Window) -> Tensor:
    above, before = max(-window.top, 0), max(-window.left, 0)
    part = image[window.top + above : window.top + window.height, window.left + before : window.left + window.width]
    values = torch.from_numpy(part / np.float32(127.5) - 1).permute(2, 0, 1)
    below, behind = window.height - above - part.shape[0], window.width - before - part.shape[1]
    return functional.pad(values, (before, behind, above, below))


def run_wider(
    run: Callable[[list[int], list[Window]], Tensor],
    batch: Batch,
    windows: list[Window],
    margin: int,
    stride: int,
    grid: int | None = None,
) -> Tensor:
    """(B, 1, h, w): `run` at windows with a margin, once for each size among them, and the margin cut off again."""
    wider = [with_margin(*pair, margin, stride, grid) for pair in zip(windows, batch.sizes, strict=True)]
    groups: dict[tuple[int, int], list[int]] = {}
    for number, window in enumerate(wider):
        groups.setdefault((window.height, window.width), []).append(number)
    maps: dict[int, Tensor] = {}
    for numbers in groups.values():
        maps |= zip(numbers, run(numbers, [wider[number] for number in numbers]), strict=True)
    return torch.stack([cut(maps[number], windows[number], wider[number], stride) for number in range(len(windows))])
