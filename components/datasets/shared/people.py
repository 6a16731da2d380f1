"""The people of a made scene: where their heads are, and how a person is drawn.

Positions and diameters are pixels of the canvas. A person hangs below the head: 6.5 diameters from crown to sole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import ImageDraw
from scipy.spatial import cKDTree

Colour = tuple[int, int, int]
SKIN = np.array([(236, 196, 168), (214, 165, 130), (183, 127, 92), (139, 92, 66), (93, 62, 47)])
HAIR = np.array([(28, 24, 23), (48, 34, 26), (86, 58, 38), (148, 110, 66), (120, 118, 116), (196, 190, 182)])
HAIR_SHARES = [0.36, 0.27, 0.17, 0.09, 0.07, 0.04]
SOLES = 6.0  # head diameters from the centre of the head down to the ground


@dataclass(frozen=True)
class View:
    """A camera above a flat square: a head's diameter grows linearly from the horizon to the lower border."""

    width: int
    height: int
    horizon: float
    far: float  # diameter of a head at the horizon
    near: float  # diameter of a head at the lower border
    light: float  # where the sun stands: -1 left, 1 right

    def depth(self, y: np.ndarray | float) -> np.ndarray:
        """0 at the horizon (or the upper border, if that is lower), 1 at the lower border."""
        top = max(self.horizon, 0.0)
        return np.clip((np.asarray(y) - top) / (self.height - top), 0, 1)

    def head(self, y: np.ndarray | float) -> np.ndarray:
        return self.far + (self.near - self.far) * self.depth(y)


class Person(NamedTuple):
    """One person: the head's centre and diameter, and what is worn."""

    x: float
    y: float
    head: float
    skin: Colour
    hair: Colour
    top: Colour
    legs: Colour
    facing: bool  # towards the camera


def place(rng: np.random.Generator, view: View, count: int) -> np.ndarray:
    """Heads (count, 2): part of them strewn over the square, part in clusters, hardly any in front of another."""
    candidates = _candidates(rng, view, 3 * count + 1)
    free = _apart(candidates, 0.9 * view.head(candidates[:, 1]))
    return candidates[np.argsort(~free, kind="stable")[:count]]


def _candidates(rng: np.random.Generator, view: View, number: int) -> np.ndarray:
    top = max(view.horizon, 0.0) + view.far
    clusters = int(rng.integers(1, 9))
    centres = np.column_stack([rng.uniform(0, view.width, clusters), _rows(rng, view, top, clusters)])
    chosen = rng.integers(clusters, size=number)
    spread = rng.uniform(2, 6, clusters)[chosen] * view.head(centres[chosen, 1])
    gathered = centres[chosen] + rng.normal(size=(number, 2)) * spread[:, None] * (1.6, 0.8)
    strewn = np.column_stack([rng.uniform(0, view.width, number), _rows(rng, view, top, number)])
    heads = np.where(rng.random((number, 1)) < rng.uniform(0.2, 0.8), gathered, strewn)
    outside = ~((heads > (0, top)) & (heads < (view.width - 1, view.height - 1))).all(axis=1)
    heads[outside] = strewn[outside]
    return heads


def _rows(rng: np.random.Generator, view: View, top: float, number: int) -> np.ndarray:
    """Rows between `top` and the lower border: more people far away, where the square is wide."""
    return top + (view.height - 1 - top) * rng.random(number) ** 1.3


def _apart(heads: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """(N,) bool: heads that keep their distance from every earlier head that does."""
    pairs = cKDTree(heads).query_pairs(distance.max(), output_type="ndarray")
    first, second = pairs[np.lexsort(pairs.T[::-1])].T
    close = np.hypot(*(heads[first] - heads[second]).T) < np.minimum(distance[first], distance[second])
    free = np.ones(len(heads), bool)
    for earlier, later in zip(first[close].tolist(), second[close].tolist(), strict=True):
        free[later] &= not free[earlier]
    return free


def dress(rng: np.random.Generator, view: View, heads: np.ndarray) -> list[Person]:
    """Give every head (N, 2) its diameter, skin, hair and clothes."""
    number = len(heads)
    sizes = view.head(heads[:, 1]) * rng.uniform(0.92, 1.08, number)
    skins = SKIN[rng.integers(len(SKIN), size=number)]
    hairs = HAIR[rng.choice(len(HAIR), size=number, p=HAIR_SHARES)]
    hats = rng.random((number, 1)) < 0.12
    tops = _clothes(rng, number, 235)
    hairs = np.where(hats, _clothes(rng, number, 245), hairs)
    legs = _clothes(rng, number, 110)
    facing = rng.random(number) < 0.5
    looks = [[tuple(row) for row in colours.tolist()] for colours in (skins, hairs, tops, legs)]
    return [Person(*row) for row in zip(*heads.T.tolist(), sizes.tolist(), *looks, facing.tolist(), strict=True)]


def _clothes(rng: np.random.Generator, number: int, brightest: int) -> np.ndarray:
    """Colours (number, 3), most of them muted: a grey value mixed with a random hue."""
    grey = rng.uniform(25, brightest, (number, 1))
    hue = rng.uniform(-1, 1, (number, 3)) * rng.beta(1.2, 2.5, (number, 1)) * 110
    return np.clip(grey + hue, 8, 250).astype(int)


def draw_person(draw: ImageDraw.ImageDraw, person: Person, light: float) -> None:
    """Legs, torso with its shaded side, neck, and the head over them."""
    x, y, d = person.x, person.y, person.head
    for side in (-1, 1):
        draw.rectangle(_box(x + 0.36 * side * d, y + 4.7 * d, 0.29 * d, 1.3 * d), person.legs)
    _draw_torso(draw, x, y, 0.88 * d, 4.0 * d, _shade(person.top, 0.72))
    _draw_torso(draw, x + 0.2 * light * d, y, 0.67 * d, 3.9 * d, person.top)
    draw.rectangle(_box(x, y + 0.5 * d, 0.2 * d, 0.2 * d), _shade(person.skin, 0.75))
    _draw_head(draw, person, light)


def _draw_torso(draw: ImageDraw.ImageDraw, x: float, y: float, half_width: float, hem: float, colour: Colour) -> None:
    """Round shoulders and a straight coat that ends `hem` below the centre of the head, at y."""
    shoulders = y + 0.6 * half_width
    draw.ellipse(_box(x, shoulders + 0.8 * half_width, half_width, 0.8 * half_width), colour)
    draw.rectangle((x - half_width, shoulders + 0.8 * half_width, x + half_width, y + hem), colour)


def _draw_head(draw: ImageDraw.ImageDraw, person: Person, light: float) -> None:
    x, y, d = person.x, person.y, person.head
    draw.ellipse(_box(x, y, 0.44 * d, 0.52 * d), person.hair)
    if person.facing:
        draw.ellipse(_box(x, y + 0.13 * d, 0.36 * d, 0.38 * d), _shade(person.skin, 0.8))
        draw.ellipse(_box(x + 0.07 * light * d, y + 0.13 * d, 0.29 * d, 0.33 * d), person.skin)
    else:
        shine = tuple(min(255, value + 28) for value in person.hair)
        draw.ellipse(_box(x + 0.14 * light * d, y - 0.16 * d, 0.2 * d, 0.22 * d), shine)


def _box(x: float, y: float, half_width: float, half_height: float) -> tuple[float, float, float, float]:
    return x - half_width, y - half_height, x + half_width, y + half_height


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = colour
    return int(red * factor), int(green * factor), int(blue * factor)
