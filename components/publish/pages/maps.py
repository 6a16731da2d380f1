"""Figure 4: one image, and the map of each kind that counters learn from."""

from __future__ import annotations

from components.publish.figures import Panel, counted
from components.publish.pages.gallery import MOST, Gallery, first_of_each

ALT = "Density maps of one test image"
CAPTION = (
    "A test image and the density maps from which the counters learn, all on one colour scale in people per cell "
    "of the counter's grid; the title of each map gives its sum. "
    f"At most the study's first {MOST} kinds of map, first seed. Compare figure 4 of Wan & Chan 2019."
)


def panels(gallery: Gallery) -> list[list[Panel]]:
    """One row: the test image of median count. Nothing where every experiment learns from dots alone."""
    drawn = gallery.alike([each for each in gallery.shown if each.model.loss.uses_density_map])
    kinds, row = first_of_each(drawn, lambda each: each.result.density_map), gallery.median
    maps = [counted(each.title, gallery.target(each, row)) for each in kinds[:MOST]]
    return [[gallery.photograph(row), *maps]] if maps else []
