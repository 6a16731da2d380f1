"""The figures that need images and models. Each is one file with the panels of its page and their caption."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from components.publish.figures import Panel, page
from components.publish.pages import attention, generators, kernels, maps, predictions
from components.publish.pages.gallery import Gallery
from components.publish.report import Picture

PAGES = {
    "maps": maps,
    "generators": generators,
    "kernels": kernels,
    "attention": attention,
    "predictions": predictions,
}


def draw(gallery: Gallery, folder: Path, dark_folder: Path) -> Mapping[str, Picture]:
    """Write PNGs, light and dark, for each page that the study has runs for; the pictures by name."""
    drawn = {}
    for name, figure in PAGES.items():
        if panels := figure.panels(gallery):
            picture = Picture(folder / f"{name}.png", dark_folder / f"{name}.png", figure.CAPTION, _alt(figure, panels))
            page(panels, *picture.files)
            drawn[name] = picture
    return drawn


def _alt(figure: ModuleType, panels: list[list[Panel]]) -> str:
    """What the page is, and the titles of its first row."""
    first = "; ".join(panel.title.replace("\n", ", ") for panel in panels[0])
    more = f" And {len(panels) - 1} more like it." if len(panels) > 1 else ""
    return f"{figure.ALT}. A row of {len(panels[0])} panels: {first}.{more}"
