"""What the counters make of a few test images."""

from __future__ import annotations

import numpy as np

from components.evaluation.score import as_batch
from components.prepared import Row
from components.publish.figures import Panel, counted
from components.stages._figures.gallery import MOST, Gallery

CAPTION = "A sparse, a median and a dense test image, and what each counter predicts (first seed). One scale a row."
QUANTILES = (0.1, 0.5, 0.9)  # of the counts: which test images are shown


def panels(gallery: Gallery) -> list[list[Panel]]:
    """A row for each image."""
    places = dict.fromkeys(round(quantile * (len(gallery.rows) - 1)) for quantile in QUANTILES)
    return [_predicted(gallery, gallery.rows[place]) for place in places]


def _predicted(gallery: Gallery, row: Row) -> list[Panel]:
    image = as_batch(gallery.prepared.images[row.number])
    shown = gallery.alike(gallery.shown)[:MOST]
    maps = [counted(each.title, np.asarray(each.model.predict(image)[0, 0].cpu())) for each in shown]
    return [gallery.photograph(row), *maps]
