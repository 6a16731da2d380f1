"""Figure 7: which blurred map the self-attention chooses where, and the blurred maps before and after it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from components.crowd import Window, block_sum, dot_map
from components.data.manifest import Row
from components.density_maps.crops import cut, whole, with_margin
from components.density_maps.learned.shared.fusion import MARGINS
from components.publish.figures import Panel, Scale, counted, unsigned
from components.publish.pages.gallery import Gallery, Shown
from components.publish.style import DENSITY

SIDE = 128  # pixels: the part of the image that is shown
CAPTION = (
    "Inside a generator, for the most crowded part of a test image. First row: attention, the share of each blurred "
    "map; over the maps, shares sum to 1 in every pixel. Below: the blurred maps, in people per pixel, before and "
    "after they are multiplied with it. Each has one colour scale before and after, up to its peak before. "
    "Left: the photograph, its dots, and the map made of all this, in people per cell. As figure 7 of Wan & Chan 2019."
)


class Inside(NamedTuple):
    """One window of an image, seen within a generator."""

    shares: np.ndarray  # (k, H, W), equation (5): sums to 1 over k
    before: np.ndarray  # (k, H, W) people per pixel, equation (4)
    fused: np.ndarray  # (h, w) people per cell, equation (6)

    @property
    def after(self) -> np.ndarray:
        return self.shares * self.before


def panels(gallery: Gallery) -> list[list[Panel]]:
    """Three rows, for the first generator with self-attention."""
    for each in gallery.generators(fusion="self_attention"):
        return _rows(gallery, each)
    return []


def look(gallery: Gallery, each: Shown, row: Row, window: Window) -> Inside:
    """What a generator makes of one window of an image."""
    model, generator, batch = each.model, each.generator, gallery.batch(each, row)
    [size], [full] = batch.sizes, batch.windows
    wider = with_margin(window, size, MARGINS[model.stride], model.stride)
    with torch.no_grad():
        blurred = generator.blurred(batch, 0, wider)
        shares = generator.shares(blurred[None])[0]
        fused = cut(generator(batch, [full])[0, 0] / model.scale, window, full, model.stride)
    parts = cut(shares, window, wider, 1), cut(blurred, window, wider, 1), fused
    return Inside(*(maps.cpu().numpy() for maps in parts))


def crowded(dots: np.ndarray, size: tuple[int, int], stride: int) -> Window:
    """The window of SIDE x SIDE pixels, or what the image has of it, with the most of its dots (N, 2)."""
    full = whole(size, stride)
    counts = block_sum(dot_map(torch.from_numpy(dots), size, full).numpy(), stride)
    shape = tuple(min(SIDE // stride, side) for side in counts.shape)
    sums = sliding_window_view(counts, shape).sum(axis=(2, 3))
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    return Window(int(top) * stride, int(left) * stride, shape[0] * stride, shape[1] * stride)


def _rows(gallery: Gallery, each: Shown) -> list[list[Panel]]:
    row, sigmas = gallery.median, each.generator.params.sigmas
    window = crowded(row.dots, (row.height, row.width), each.model.stride)
    seen = look(gallery, each, row, window)
    pixels = gallery.prepared.images[row.number][window.top :, window.left :][: window.height, : window.width]
    dots = dot_map(torch.from_numpy(row.dots), (row.height, row.width), window).numpy()
    share = Scale(DENSITY, 0.0, 1.0, "share")
    scales = [unsigned([before]) for before in seen.before]
    shares = [Panel(f"attention to {sigma:g} px", maps, share) for sigma, maps in zip(sigmas, seen.shares, strict=True)]
    return [
        [Panel(f"part of {row.id}", pixels), *shares],
        [Panel(f"{int(dots.sum())} dots", dots, unsigned([dots])), *_blurred("before", seen.before, scales)],
        [counted(each.title, seen.fused), *_blurred("after", seen.after, scales)],
    ]


def _blurred(when: str, maps: np.ndarray, scales: list[Scale]) -> list[Panel]:
    return [
        Panel(f"{when}: {each.sum():.1f} people\npeak {each.max():.2g} a pixel", each, scale)
        for each, scale in zip(maps, scales, strict=True)
    ]
