"""What density maps need of crops: their annotation maps, regions and pixels, and maps of whole images, cut.

A network that runs on a crop alone sees zero padding where the image continues, and over-counts whole images by 3-5 %.
Here it runs on the crop plus a margin as wide as its receptive field, and the margin is cut off afterwards: the result
is the same as on the whole image, at a fraction of the cost. At the image's own border there is no margin, because the
zero padding there is real."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.crowd import Crop, Window, cell_count

PAD_COLOUR = np.array((124, 116, 104), np.uint8)  # ImageNet's mean: zero after standardisation


def full_window(size: tuple[int, int], stride: int) -> Window:
    """The window of all cells of an image (H, W); the last cells may reach over its border."""
    return Window(0, 0, cell_count(size[0], stride) * stride, cell_count(size[1], stride) * stride)


def with_margin(window: Window, size: tuple[int, int], margin: int, stride: int, grid: int | None = None) -> Window:
    """`window` grown by at least `margin` pixels on each side and kept inside the image (H, W).

    The result starts and ends on a grid of `grid` pixels, a multiple of the `stride` on which `window` lies. Windows of
    one size in images of one size give results of one size."""
    grid = grid or stride
    limit, slack = full_window(size, grid), grid - stride
    top, height = _grow(window.top, window.height + slack, limit.height, margin, grid)
    left, width = _grow(window.left, window.width + slack, limit.width, margin, grid)
    return Window(top, left, height, width)


def _grow(start: int, length: int, limit: int, margin: int, grid: int) -> tuple[int, int]:
    """Start and length along one axis, after growing."""
    grown = min(cell_count(length + 2 * margin, grid) * grid, limit)
    return min(max((start - margin) // grid * grid, 0), limit - grown), grown


def cut(maps: Tensor, window: Window, covered: Window, stride: int) -> Tensor:
    """Cut `window` out of maps (..., h, w) that cover the window `covered`; both in pixels, multiples of `stride`."""
    top, left = (window.top - covered.top) // stride, (window.left - covered.left) // stride
    return maps[..., top : top + window.height // stride, left : left + window.width // stride]


def annotation_maps(crops: Sequence[Crop], stride: int) -> Tensor:
    """The annotation maps of the crops' windows: (B, 1, h, w) people per cell."""
    return torch.stack([_cut_full(crop.annotation, crop, stride) for crop in crops])


def region_masks(crops: Sequence[Crop], stride: int) -> Tensor | None:
    """The fraction of each cell that lies in the region of interest, (B, 1, h, w); None if no image has a region."""
    if all(crop.region is None for crop in crops):
        return None
    return torch.stack([_cut_full(full_region(crop), crop, stride) for crop in crops])


def full_region(crop: Crop) -> Tensor:
    """The fraction of each cell of the whole image that lies in its region of interest, (h, w)."""
    return torch.ones_like(crop.annotation) if crop.region is None else crop.region


def _cut_full(full_map: Tensor, crop: Crop, stride: int) -> Tensor:
    """(h, w) of the whole image -> (1, h, w) of the crop's window."""
    return cut(full_map[None], crop.window, full_window(crop.size, stride), stride)


def image_patches(crops: Sequence[Crop]) -> Tensor:
    """The pixels of the crops' windows, never flipped: (B, 3, H, W) in -1..1.

    A window may reach over any border of its image; outside the image the patch is 0."""
    return torch.stack([_image_patch(crop) for crop in crops])


def _image_patch(crop: Crop) -> Tensor:
    assert crop.image is not None, "this density map reads the image, and the crop was made without one"
    window = crop.window
    above, before = max(-window.top, 0), max(-window.left, 0)
    part = crop.image[
        window.top + above : window.top + window.height, window.left + before : window.left + window.width
    ]
    values = torch.from_numpy(part / np.float32(127.5) - 1).permute(2, 0, 1)
    below, behind = window.height - above - part.shape[0], window.width - before - part.shape[1]
    return functional.pad(values, (before, behind, above, below)).to(crop.dots.device)


def apply_with_margin(
    run: Callable[[list[Crop]], Tensor], crops: Sequence[Crop], margin: int, stride: int, grid: int | None = None
) -> Tensor:
    """`run` on the crops grown by a margin, which is then cut off: (B, 1, h, w).

    `run` maps crops of one size to maps (B, 1, h, w); it is called once for each size that the grown crops have."""
    grown = [crop.at(with_margin(crop.window, crop.size, margin, stride, grid)) for crop in crops]
    by_size: dict[tuple[int, int], list[int]] = {}
    for index, crop in enumerate(grown):
        by_size.setdefault((crop.window.height, crop.window.width), []).append(index)
    maps: dict[int, Tensor] = {}
    for indices in by_size.values():
        maps |= zip(indices, run([grown[index] for index in indices]), strict=True)
    return torch.stack([cut(maps[i], crop.window, grown[i].window, stride) for i, crop in enumerate(crops)])


def padded(image: np.ndarray, window: Window) -> np.ndarray:
    """`window` of an image (H, W, 3), with the padding colour where it reaches over the border."""
    part = image[window.top : window.top + window.height, window.left : window.left + window.width]
    if part.shape[:2] == (window.height, window.width):
        return part
    canvas = np.broadcast_to(PAD_COLOUR, (window.height, window.width, 3)).copy()
    canvas[: part.shape[0], : part.shape[1]] = part
    return canvas
