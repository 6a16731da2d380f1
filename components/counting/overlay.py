"""A picture with what was counted on it: the density as a heat map, the zones, the count, and what the colours mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from shapely.geometry.base import BaseGeometry

LARGEST = 1600  # longest side in pixels
OPACITY = 0.8  # of the heat map where it is largest
HEAT = matplotlib.colormaps["inferno"]
AREA = 100  # the heat map's scale is in people per square of so many pixels
ZONE = (86, 180, 233)


def draw_overlay(
    file: Path,
    pixels: np.ndarray,
    density: np.ndarray,
    cells: tuple[float, float],
    areas: Mapping[str, BaseGeometry],
    people: Mapping[str, float],
) -> None:
    """Draw the picture `pixels` (H, W, 3) uint8 as a PNG, at most 1600 px long; with black around it if tiny.

    `density` (h, w) is the people in each cell, `cells` a cell's (width, height) in pixels of the picture; `areas` are
    zones in the same pixels, `people` those in each zone."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    scale = picture.width / pixels.shape[1]
    rows, columns = density.shape
    grid = (max(1, round(columns * cells[0] * scale)), max(1, round(rows * cells[1] * scale)))
    top = max(float(density.max()), 1e-9)
    heat = Image.fromarray((density / top).clip(0, 1).astype(np.float32)).resize(grid, Image.Resampling.BILINEAR)
    strength = np.asarray(heat)[: picture.height, : picture.width, None]
    opacity = OPACITY * np.sqrt(strength)
    blended = (1 - opacity) * np.asarray(picture) + opacity * 255 * HEAT(strength[..., 0])[..., :3]
    letters = max(14, max(picture.size) // 50)
    canvas = Image.new("RGB", (max(picture.width, 14 * letters), max(picture.height, 6 * letters)))  # room for words
    canvas.paste(Image.fromarray(blended.astype(np.uint8)))
    for name, area in areas.items():
        _draw_zone(canvas, name, area, people[name], scale, letters)
    _draw_text(canvas, (letters // 2, letters // 2), f"{density.sum(dtype=np.float64):,.1f}", 2 * letters, "la")
    _draw_scale(canvas, top * AREA**2 / (cells[0] * cells[1]), letters)
    file.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(file)


def _draw_zone(canvas: Image.Image, name: str, area: BaseGeometry, people: float, scale: float, letters: int) -> None:
    draw = ImageDraw.Draw(canvas)
    for part in getattr(area, "geoms", [area]):
        outline = [(x * scale, y * scale) for x, y in part.exterior.coords]
        draw.line(outline, fill=ZONE, width=max(2, letters // 7), joint="curve")
    middle = area.representative_point()
    _draw_text(canvas, (middle.x * scale, middle.y * scale), f"{name}: {people:,.1f}", letters, "mm")


def _draw_scale(canvas: Image.Image, top: float, letters: int) -> None:
    """The colours from none to the largest density, with what that is, in the lower left corner."""
    width, height, left = 12 * letters, letters // 2, letters // 2
    above = canvas.height - 3 * height
    colours = 255 * HEAT(np.linspace(0, 1, width))[:, :3]
    canvas.paste(Image.fromarray(np.tile(colours.astype(np.uint8), (height, 1, 1))), (left, above))
    ImageDraw.Draw(canvas).rectangle((left - 1, above - 1, left + width, above + height), outline="white")
    label = f"0 to {top:.3g} per {AREA} x {AREA} px"
    _draw_text(canvas, (left, above - height // 2), label, letters, "lb")


def _draw_text(canvas: Image.Image, place: tuple[float, float], text: str, size: int, anchor: str) -> None:
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(canvas)
    draw.text(place, text, "white", font, anchor, stroke_width=max(1, size // 10), stroke_fill="black")
