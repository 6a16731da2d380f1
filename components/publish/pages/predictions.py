"""The predictions of the counters for a few test images."""

from __future__ import annotations

from components.data.manifest import Row
from components.publish.figures import Panel, counted
from components.publish.pages.gallery import MOST, Gallery

ALT = "Predicted maps of test images"
CAPTION = (
    "A sparse, a median and a dense test image, and the predictions of the counters: "
    f"at most the study's first {MOST}, first seed. Each row has one colour scale."
)
QUANTILES = (0.1, 0.5, 0.9)  # of the counts: which test images are shown


def panels(gallery: Gallery) -> list[list[Panel]]:
    """One row per image."""
    places = dict.fromkeys(round(quantile * (len(gallery.rows) - 1)) for quantile in QUANTILES)
    return [_predicted(gallery, gallery.rows[place]) for place in places]


def _predicted(gallery: Gallery, row: Row) -> list[Panel]:
    shown = gallery.alike(gallery.shown)[:MOST]
    return [gallery.photograph(row), *(counted(each.title, gallery.predicted(each, row)) for each in shown)]
