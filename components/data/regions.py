"""Regions of interest on other grids than that of the raw image: of a resized image, and of cells."""

from __future__ import annotations

import numpy as np
from PIL import Image

from components.crowd import block_sum


def resize_region(region: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The fraction of each pixel of an image of `size` (width, height) inside the region, times 255, as uint8; `region`
    (H, W) is bool, or such fractions in 0..1, at another size.

    A pixel that has anything of the region keeps a fraction above 0, so that no dot inside stands where nothing
    counts."""
    mask = Image.fromarray(region.astype(np.float32)).resize(size, Image.Resampling.BOX)
    fractions: np.ndarray = np.ceil(255 * np.asarray(mask)).clip(0, 255).astype(np.uint8)
    return fractions


def cell_shares(region: np.ndarray | None, size: tuple[int, int], side: int) -> np.ndarray:
    """The share of each cell of `side` pixels that lies in a region, of an image of `size` (height, width):
    (h, w) float32 in 0..1.

    `region` holds the shares of pixels times 255, as uint8, perhaps of the image at another size; None: the whole
    image. Of a cell that reaches over the image's border, what lies inside the image counts as the whole."""
    every = np.ones(size, np.float32)
    inside: np.ndarray = every if region is None else region / np.float32(255)
    if inside.shape != size:
        inside = resize_region(inside, (size[1], size[0])) / np.float32(255)
    shares: np.ndarray = (block_sum(inside, side) / block_sum(every, side)).astype(np.float32)
    return shares
