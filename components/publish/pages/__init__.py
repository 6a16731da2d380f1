"""The figures that need pixels and models, one a file: it says what stands on its page, and what that shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components.config.study import Study
from components.publish.figures import page
from components.publish.pages import attention, generators, kernels, maps, predictions
from components.publish.pages.gallery import Gallery
from components.publish.report import Picture
from components.publish.results import Result
from components.workspace.layout import Layout

PAGES = {
    "maps": maps,
    "generators": generators,
    "kernels": kernels,
    "attention": attention,
    "predictions": predictions,
}


def draw(study: Study, layout: Layout, found: Sequence[Result], folder: Path) -> dict[str, Picture]:
    """Write a PNG for each page that the study has the runs for: pictures by name."""
    gallery, drawn = Gallery(study, layout, found), {}
    for name, figure in PAGES.items():
        if rows := figure.panels(gallery):
            page(rows, folder / f"{name}.png")
            drawn[name] = Picture(folder / f"{name}.png", figure.CAPTION)
    return drawn
