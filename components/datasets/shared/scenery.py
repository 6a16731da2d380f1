"""What stands around the people of a made scene: sky, ground, houses, and things that look a bit like heads.

Everything is drawn in pixels of the canvas. Things on the square know the row on which they stand, so that people and
things can be painted from far to near."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from components.datasets.shared.people import SOLES, View

SKIES = [((118, 164, 214), (206, 222, 236)), ((176, 182, 188), (214, 216, 218)), ((92, 104, 150), (236, 190, 160))]
GROUNDS = [(150, 146, 140), (128, 130, 134), (176, 160, 136), (112, 128, 92), (160, 124, 104), (104, 100, 98)]
WALLS = [(168, 150, 130), (140, 96, 80), (186, 180, 170), (122, 128, 138), (204, 186, 150)]
LEAVES = [(58, 92, 44), (78, 108, 48), (44, 74, 46), (112, 110, 50), (134, 92, 44)]
Draw = ImageDraw.ImageDraw


class Thing(NamedTuple):
    """Something on the square: the row of its foot, and how it is drawn."""

    foot: float
    paint: Callable[[Draw], None]


def background(rng: np.random.Generator, view: View, shadows: Image.Image) -> Image.Image:
    """The empty square: sky, ground with shadows and paving, and houses along the horizon."""
    plain = Image.fromarray(_sky_and_ground(rng, view))
    plain.paste((12, 12, 20), mask=shadows)
    canvas = plain.resize((view.width, view.height), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(canvas)
    _paving(draw, rng, view)
    if view.horizon > 0:
        _houses(draw, rng, view)
    return canvas


def _sky_and_ground(rng: np.random.Generator, view: View) -> np.ndarray:
    """Sky above the horizon, stained ground below: (h, w, 3) uint8, a third of the canvas, as neither has detail."""
    height, width = view.height // 3, view.width // 3
    rows = 3 * np.arange(height, dtype=np.float32)[:, None, None]
    above, below = np.array(SKIES[rng.integers(len(SKIES))], np.float32)
    sky = above + (below - above) * np.clip(rows / max(view.horizon, 1), 0, 1)
    plain = np.array(GROUNDS[rng.integers(len(GROUNDS))]) + rng.normal(0, 8, 3) + 26 * (0.5 - view.depth(rows))
    ground = plain + _stains(rng, height, width)[..., None]
    image: np.ndarray = np.clip(np.where(rows < view.horizon, sky, ground), 0, 255).astype(np.uint8)
    return image


def _stains(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Uneven ground (height, width): noise at three scales, wider than high."""
    total = np.zeros((height, width), np.float32)
    for cells, strength in ((4, 16), (14, 9), (60, 6)):
        noise = rng.normal(0, strength, (2 * cells, cells)).astype(np.float32)
        total += np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BILINEAR))
    return total


def _paving(draw: Draw, rng: np.random.Generator, view: View) -> None:
    """Lines towards a vanishing point and across, closer together far away; not on every ground."""
    if rng.random() < 0.4:
        return
    colour = tuple(int(value) for value in rng.integers(90, 130, 1).repeat(3))
    top, vanishing = max(view.horizon, 0.0), rng.uniform(0, view.width)
    for end in np.linspace(-2, 3, int(rng.integers(12, 30))) * view.width:
        start = vanishing + (end - vanishing) * 0.15
        draw.line((start, top, end, view.height), colour, max(1, view.height // 250))
    for row in top + (view.height - top) * np.linspace(0.02, 1, int(rng.integers(6, 14))) ** 2:
        draw.line((0, row, view.width, row), colour, max(1, view.height // 250))


def _houses(draw: Draw, rng: np.random.Generator, view: View) -> None:
    left = -rng.uniform(0, 0.2) * view.width
    while left < view.width:
        width = rng.uniform(0.12, 0.4) * view.width
        if rng.random() < 0.85:
            _house(draw, rng, left, view.horizon * rng.uniform(-0.3, 0.6), width, view.horizon + 1)
        left += width


def _house(draw: Draw, rng: np.random.Generator, left: float, top: float, width: float, foot: float) -> None:
    """A wall with rows of windows, dark or lit: some are as round and as large as heads."""
    wall = np.array(WALLS[rng.integers(len(WALLS))]) + rng.normal(0, 10, 3)
    draw.rectangle((left, top, left + width, foot), _colour(wall))
    step, size = width / rng.integers(4, 10), rng.uniform(0.35, 0.6)
    radius = rng.choice([0.05, 0.5]) * size * step
    for y in np.arange(top + 0.4 * step, foot - 0.6 * step, 1.3 * step):
        for x in np.arange(left + 0.25 * step, left + width - 0.7 * step, step):
            glass = wall * 0.4 if rng.random() < 0.75 else np.array((240, 214, 150))
            draw.rounded_rectangle((x, y, x + size * step, y + size * step), radius, _colour(glass))


def things(rng: np.random.Generator, view: View) -> list[Thing]:
    """Trees, lamp posts, bushes and bollards, each as large as its row asks for."""
    kinds = ((_tree, 4, 0.25), (_lamp, 3, 0.7), (_bush, 4, 0.6), (_bollard, 6, 1.0))
    top = max(view.horizon, 0.0)
    made = []
    for paint, most, lowest in kinds:
        for _ in range(rng.integers(most + 1)):
            foot = top + (view.height - top) * rng.uniform(0.03, lowest)
            unit = float(view.head(foot - SOLES * view.head(foot)))
            made.append(Thing(foot, partial(paint, rng.spawn(1)[0], rng.uniform(0, view.width), foot, unit)))
    return made


def _tree(rng: np.random.Generator, x: float, foot: float, unit: float, draw: Draw) -> None:
    """A trunk, and a crown of round blobs about as large as heads."""
    leaves, height = np.array(LEAVES[rng.integers(len(LEAVES))]), rng.uniform(11, 17) * unit
    draw.rectangle((x - 0.4 * unit, foot - height, x + 0.4 * unit, foot), (74, 58, 44))
    for _ in range(70):
        across, up = rng.normal(0, 1.7) * unit, rng.normal(0, 2.1) * unit
        blob, lit = rng.uniform(0.4, 1.1) * unit, rng.normal(1, 0.12) + 0.1 * up / (4 * unit)
        _disc(draw, x + across, foot - height - up, blob, leaves * lit)


def _lamp(rng: np.random.Generator, x: float, foot: float, unit: float, draw: Draw) -> None:
    """A post with one or two globes."""
    height = rng.uniform(9, 13) * unit
    draw.rectangle((x - 0.14 * unit, foot - height, x + 0.14 * unit, foot), (52, 54, 58))
    for across in rng.choice([0.0, 1.0]) * unit * np.array((-1, 1)):
        _disc(draw, x + across, foot - height, 0.5 * unit, np.array((232, 226, 204)))


def _bush(rng: np.random.Generator, x: float, foot: float, unit: float, draw: Draw) -> None:
    leaves = np.array(LEAVES[rng.integers(len(LEAVES))])
    for _ in range(30):
        across, up = rng.normal(0, 1.6) * unit, abs(rng.normal(0, 0.7)) * unit
        _disc(draw, x + across, foot - up, rng.uniform(0.3, 0.7) * unit, leaves * rng.normal(1, 0.15))


def _bollard(rng: np.random.Generator, x: float, foot: float, unit: float, draw: Draw) -> None:
    """A short post with a round top: the most head-like thing on the square."""
    colour = np.array((1.0, 0.98, 0.95)) * rng.uniform(50, 190)
    draw.rectangle((x - 0.3 * unit, foot - 2 * unit, x + 0.3 * unit, foot), _colour(colour * 0.8))
    _disc(draw, x, foot - 2 * unit, 0.42 * unit, colour)


def _disc(draw: Draw, x: float, y: float, radius: float, colour: np.ndarray) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), _colour(colour))


def _colour(values: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, int(value))) for value in values.tolist())
    return red, green, blue
