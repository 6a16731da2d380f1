"""The test images with the largest errors: each as picture, truth and prediction."""

from __future__ import annotations

import matplotlib
import numpy as np

from components.config.study import Averaging
from components.data.manifest import Row
from components.publish.pages.gallery import Gallery, Shown, test_rows
from components.publish.report import Section, Strip, Thumbnail
from components.publish.style import DENSITY

MOST = 20


def worst_images(gallery: Gallery) -> Section:
    """Those of the experiment with the smallest MAE, by the absolute error of its first seed."""
    best = min(gallery.shown, key=lambda each: each.result.metrics["MAE"].value)
    scores, rows = best.result.scores, test_rows(gallery.prepared, best.result)
    order = np.argsort(-np.abs(scores.prediction[0] - scores.truth), kind="stable")[:MOST]
    averaged = best.result.experiment.averaging != Averaging()
    text = (
        f"The {len(order)} of {len(rows)} test images on which {best.title}, the experiment with the smallest MAE, is "
        f"furthest off (seed {scores.seeds[0]}). Each as picture, truth and prediction; its two maps share one colour "
        "scale, from 0 people per cell (dark) to the larger of their peaks (yellow)."
    )
    note = " Counts are averaged over resized or mirrored images, the maps are not." if averaged else ""
    strips = tuple(_strip(gallery, best, rows[place], float(scores.prediction[0, place])) for place in order)
    return Section("Worst images", text + note, strips=strips)


def _strip(gallery: Gallery, best: Shown, row: Row, count: float) -> Strip:
    truth, found = gallery.annotated(best, row), gallery.predicted(best, row)
    peak, people = max(float(truth.max()), float(found.max())), len(row.dots)
    panels = (
        Thumbnail("picture", np.asarray(gallery.prepared.images[row.number])),
        Thumbnail(f"truth: {people}", colours(truth, peak), is_map=True),
        Thumbnail(f"prediction: {count:.1f}", colours(found, peak), is_map=True),
    )
    return Strip(row.id, f"{count - people:+.1f} people; peak {peak:.2g} per cell", panels)


def colours(density: np.ndarray, peak: float) -> np.ndarray:
    """A map (h, w) in the colours of the figures, from 0 to `peak`: (h, w, 3) uint8."""
    shares = np.clip(density / peak, 0, 1) if peak > 0 else np.zeros_like(density)
    return np.asarray(matplotlib.colormaps[DENSITY](shares, bytes=True)[..., :3])
