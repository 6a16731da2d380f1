"""Figure 5: the maps of generators trained with different counters, and their differences."""

from __future__ import annotations

import numpy as np

from components.crowd import block_sum
from components.publish.figures import Panel, counted, signed
from components.publish.pages.gallery import Gallery, Shown, first_of_each

ALT = "Generated maps and their difference"
CAPTION = (
    "Generated maps of one test image: from generators trained jointly with two different counters, and the first map "
    "minus the second (red: more people, blue: fewer). They are compared on the coarser of the two grids, each cell "
    "of which is the sum of cells of the finer one. Both maps of a row share one colour scale. First seed. "
    "Compare figure 5 of Wan & Chan 2019."
)


def panels(gallery: Gallery) -> list[list[Panel]]:
    """One row per counter other than the first; nothing where all generators were trained with the same counter."""
    chosen = _by_counter(gallery.generators())
    return [_pair(gallery, chosen[0], other) for other in chosen[1:]]


def on_one_grid(first: np.ndarray, second: np.ndarray, strides: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Two maps of one image, made at these strides, on the coarser grid of both: people per cell."""
    coarser = max(strides)
    return block_sum(first, coarser // strides[0]), block_sum(second, coarser // strides[1])


def _by_counter(generators: list[Shown]) -> list[Shown]:
    """One generator for each kind of counter: if there are several, one with the options of the first of all."""
    unlike = sorted(
        generators, key=lambda each: each.result.experiment.density_map != generators[0].result.experiment.density_map
    )
    return first_of_each(unlike, lambda each: each.result.experiment.counter.kind)


def _pair(gallery: Gallery, first: Shown, second: Shown) -> list[Panel]:
    row = gallery.median
    maps = gallery.target(first, row), gallery.target(second, row)
    one, two = on_one_grid(*maps, (first.model.stride, second.model.stride))
    more = one - two
    return [
        gallery.photograph(row),
        counted(first.title, one),
        counted(second.title, two),
        Panel(f"difference\n{more.sum():+.1f} people", more, signed([more], "difference, people per cell")),
    ]
