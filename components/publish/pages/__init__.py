"""The figures that need images and models. Each is one file with the panels of its page and their caption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components.config.study import Study
from components.publish.figures import page
from components.publish.pages import attention, generators, kernels, maps, predictions
from components.publish.pages.gallery import Gallery
from components.publish.report import Picture
from components.publish.results import EvaluatedRow
from components.workspace.layout import Layout

PAGES = {
    "maps": maps,
    "generators": generators,
    "kernels": kernels,
    "attention": attention,
    "predictions": predictions,
}


def draw(study: Study, layout: Layout, rows: Sequence[EvaluatedRow], folder: Path) -> dict[str, Picture]:
    """Write a PNG for each page that the study has runs for; the pictures by name."""
    gallery, drawn = Gallery(study, layout, rows), {}
    for name, figure in PAGES.items():
        if panels := figure.panels(gallery):
            page(panels, folder / f"{name}.png")
            drawn[name] = Picture(folder / f"{name}.png", figure.CAPTION)
    return drawn
