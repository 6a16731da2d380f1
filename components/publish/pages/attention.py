"""Figure 7: which blurred map the self-attention chooses where, and the blurred maps before and after it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from components.crowd import Window, block_sum, dot_map
from components.data.manifest import Row
from components.density_maps.crops import cut, full_window, with_margin
from components.publish.figures import Panel, Scale, counted, unsigned
from components.publish.pages.gallery import Gallery, Shown
from components.publish.style import DENSITY

SIDE = 128  # pixels: the part of the image that is shown
ALT = "Attention and blurred maps inside a generator"
CAPTION = (
    "Inside a generator, for the most crowded part of a test image. First row: the attention, which is the share of "
    "each blurred map; in every cell the shares sum to 1. Below: the blurred maps, before and after they are "
    "multiplied by the attention, both on one colour scale that ends at the peak before. Their cells are pixels, "
    "unless the generator blurs on a coarser grid. "
    "Left: the image, its dots, and the generated map in people per cell. Compare figure 7 of Wan & Chan 2019."
)


class Inside(NamedTuple):
    """The inner maps of a generator, in one window of an image; blurred maps have cells of `Generator.cell` pixels."""

    shares: np.ndarray  # (k, H / cell, W / cell), equation (5): sums to 1 over k
    before: np.ndarray  # (k, H / cell, W / cell) people per cell of the blurred maps, equation (4)
    fused: np.ndarray  # (h, w) people per cell, equation (6)

    @property
    def after(self) -> np.ndarray:
        return np.asarray(self.shares * self.before)


def panels(gallery: Gallery) -> list[list[Panel]]:
    """Three rows, for the first generator with self-attention."""
    for each in gallery.generators(fusion="self_attention"):
        return _rows(gallery, each)
    return []


def inspect(gallery: Gallery, each: Shown, row: Row, window: Window) -> Inside:
    """The inner maps of a generator, in one window of an image."""
    model, generator, crop = each.model, each.generator, gallery.crop(each, row)
    wider = with_margin(window, crop.size, generator.margin, model.stride)
    with torch.no_grad():
        blurred = generator.blurred(crop.at(wider))
        shares = generator.shares(blurred[None])[0]
        fused = cut(generator([crop])[0, 0] / model.scale, window, crop.window, model.stride)
    parts = cut(shares, window, wider, generator.cell), cut(blurred, window, wider, generator.cell), fused
    return Inside(*(maps.cpu().numpy() for maps in parts))


def crowded(dots: np.ndarray, size: tuple[int, int], stride: int) -> Window:
    """The window of SIDE x SIDE pixels, or smaller in a smaller image, that holds the most dots (N, 2)."""
    full = full_window(size, stride)
    counts = block_sum(dot_map(torch.from_numpy(dots), size, full).numpy(), stride)
    shape = tuple(min(SIDE // stride, side) for side in counts.shape)
    sums = sliding_window_view(counts, shape).sum(axis=(2, 3))
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    return Window(int(top) * stride, int(left) * stride, shape[0] * stride, shape[1] * stride)


def _rows(gallery: Gallery, each: Shown) -> list[list[Panel]]:
    row, sigmas, cell = gallery.median, each.generator.params.sigmas, each.generator.cell
    window = crowded(row.dots, (row.height, row.width), each.model.stride)
    seen = inspect(gallery, each, row, window)
    pixels = gallery.prepared.images[row.number][window.top :, window.left :][: window.height, : window.width]
    dots = dot_map(torch.from_numpy(row.dots), (row.height, row.width), window).numpy()
    share = Scale(DENSITY, 0.0, 1.0, "share")
    scales = [unsigned([before]) for before in seen.before]
    shares = [Panel(f"attention to {sigma:g} px", maps, share) for sigma, maps in zip(sigmas, seen.shares, strict=True)]
    return [
        [Panel(f"part of {row.id}", pixels), *shares],
        [Panel(f"{int(dots.sum())} dots", dots, unsigned([dots])), *_blurred("before", seen.before, cell, scales)],
        [counted(each.title, seen.fused), *_blurred("after", seen.after, cell, scales)],
    ]


def _blurred(when: str, maps: np.ndarray, cell: int, scales: list[Scale]) -> list[Panel]:
    unit = "pixel" if cell == 1 else f"{cell} px cell"
    return [
        Panel(f"{when}: {each.sum():.1f} people\npeak {each.max():.2g} per {unit}", each, scale)
        for each, scale in zip(maps, scales, strict=True)
    ]
