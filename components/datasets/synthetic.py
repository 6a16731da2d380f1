"""A made crowd: squares full of people, drawn from a seed, with the centre of every head known.

Perspective, clusters, occlusion, things that look like heads, light from noon to dusk, shadows and noise. Scenes are
drawn at three times their size and reduced, so that a head of two pixels still has soft edges. Image i of a seed is the
same whatever the number of images: it has a random stream of its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from pydantic import Field, model_validator

from components.config.options import Options
from components.crowd import Problem, RawSample
from components.datasets.shared.people import SOLES, Person, View, draw_person, dress, place
from components.datasets.shared.scenery import Thing, background, things
from components.errors import UserError

OVERSAMPLING = 3
SMALLEST_HEAD = 2.0  # pixels: smaller ones cannot be told from noise


class Params(Options):
    """Counts are spread evenly over the logarithm, from `low` to `high`."""

    images: int = Field(300, ge=1, description="how many")
    height: int = Field(192, ge=32, le=2048, description="pixels")
    width: int = Field(256, ge=32, le=2048, description="pixels")
    seed: int = Field(0, ge=0, description="draws the scenes")
    low: int = Field(10, ge=0, description="fewest people in an image")
    high: int = Field(600, ge=0, description="most people in an image")

    @model_validator(mode="after")
    def _ordered(self) -> Params:
        if self.low > self.high:
            raise UserError(f"low ({self.low}) must not be above high ({self.high})")
        return self


class Synthetic:
    def __init__(self, params: Params) -> None:
        self.params = params

    def __len__(self) -> int:
        return self.params.images

    def samples(self, problems: list[Problem]) -> Iterator[RawSample]:
        """Made data has no problems, and no halves: the split is ours."""
        for number in range(self.params.images):
            image, dots = scene(self.params, number)
            yield RawSample(f"scene-{number:05d}", image, dots)


def build(params: Params) -> Synthetic:
    return Synthetic(params)


def scene(params: Params, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) uint8 and the centres of its heads (N, 2), in pixels."""
    rng = np.random.default_rng([params.seed, number])
    count = _count(rng, params)
    view = _view(rng, params, count)
    people = dress(rng, view, place(rng, view, count))
    canvas = background(rng, view, _shadows(view, people, strength=rng.uniform(0.15, 0.55)))
    _paint(canvas, view, people, things(rng, view))
    image = np.asarray(canvas.reduce(OVERSAMPLING), np.float32)
    dots = np.array([(person.x, person.y) for person in people]).reshape(-1, 2) / OVERSAMPLING
    return _expose(rng, image, view.light), dots


def _count(rng: np.random.Generator, params: Params) -> int:
    """A count between low and high, uniform in log(count + 1), so that low may be 0."""
    return round(float(np.expm1(rng.uniform(np.log1p(params.low), np.log1p(params.high)))))


def _view(rng: np.random.Generator, params: Params, count: int) -> View:
    """A camera that sees `count` people: the more of them, the farther away it stands."""
    width, height = params.width * OVERSAMPLING, params.height * OVERSAMPLING
    room = np.sqrt(width * height / max(count, 1))
    near = max(min(0.1 * height, 0.6 * room) * rng.uniform(0.8, 1.2), 1.4 * SMALLEST_HEAD * OVERSAMPLING)
    far = max(near * rng.uniform(0.25, 0.5), SMALLEST_HEAD * OVERSAMPLING)
    return View(width, height, rng.uniform(-0.1, 0.35) * height, far, near, rng.uniform(-1, 1))


def _shadows(view: View, people: list[Person], strength: float) -> Image.Image:
    """How dark the ground is, 0 to 255, beside people's feet and away from the sun: soft, a third of the canvas."""
    mask = Image.new("L", (view.width // OVERSAMPLING, view.height // OVERSAMPLING))
    draw = ImageDraw.Draw(mask)
    for person in people:
        d = person.head / OVERSAMPLING
        x, y = person.x / OVERSAMPLING - 1.3 * view.light * d, person.y / OVERSAMPLING + SOLES * d
        draw.ellipse((x - 1.6 * d, y - 0.45 * d, x + 1.6 * d, y + 0.45 * d), round(255 * strength))
    return mask.filter(ImageFilter.BoxBlur(float(view.near / (6 * OVERSAMPLING))))


def _paint(canvas: Image.Image, view: View, people: list[Person], objects: list[Thing]) -> None:
    """Paint people and things in the order of their feet, far to near."""
    draw = ImageDraw.Draw(canvas)
    standing = [Thing(p.y + SOLES * p.head, partial(draw_person, person=p, light=view.light)) for p in people]
    for thing in sorted([*standing, *objects], key=lambda thing: thing.foot):
        thing.paint(draw)


def _expose(rng: np.random.Generator, image: np.ndarray, light: float) -> np.ndarray:
    """The photograph (H, W, 3) uint8: sun from one side, a building's shade, a tint, contrast and sensor noise."""
    height, width = image.shape[:2]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    edge = rng.uniform(-1.5, 1.5) + rng.uniform(-0.6, 0.6) * y
    shade = 1 - rng.uniform(0, 0.4) / (1 + np.exp(np.clip((x * np.sign(light) - edge) * 12, -50, 50)))
    exposure = rng.uniform(0.75, 1.35) * rng.uniform((0.92, 0.96, 0.85), (1.06, 1.03, 1.08)).astype(np.float32)
    lit = image * exposure * shade * (1 + 0.12 * light * x) - 0.06 * (x**2 + y**2) * image
    contrasted = 110 + (lit - 110) * rng.uniform(0.8, 1.1)
    noisy = contrasted + rng.uniform(1, 5) * rng.standard_normal(image.shape, np.float32)
    exposed: np.ndarray = np.clip(noisy, 0, 255).astype(np.uint8)
    return exposed
