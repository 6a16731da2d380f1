"""A sheet of raw pictures with their dots drawn: whether dots stand on heads is seen there in a minute.

The oddest pictures come first, then the most crowded, then others from all over the range of counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from components.crowd import Dataset, Problem, RawSample
from components.data.decode import prepare_images, sample_name
from components.data.inspect import nearest_distances
from components.data.report import none_usable

COLUMNS, TILE, CAPTION, MARGIN = 4, (460, 345), 58, 20  # pixels of the sheet
OVERSAMPLING = 2  # dots are drawn this much larger, and reduced: smooth edges
PAPER, INK, SOFT, ODD = "#ffffff", "#1a1a1a", "#6b6b6b", "#b34700"
CROSS = 12  # pixels from the middle of a cross to its sides, before the tile is reduced
SMALLEST, LARGEST = 2.5, 10.0  # radius of a dot that is drawn, before the tile is reduced
KEPT, EDGE, DROPPED = "#ffe14d", "#1a1a1a", "#ff2a2a"
HARMLESS = 1.0  # oddness of a picture of which all dots are kept
CORNER, FEW = 0.55, 10  # share of a side within which no data set has all of this many dots by chance


class Picture(NamedTuple):
    """One image of a data set, and why it is looked at: `reason` is "" where nothing is odd, and `oddness` 0."""

    sample: RawSample
    size: tuple[int, int]  # width, height
    dots: np.ndarray  # (N, 2): those that are kept, in raw pixels
    reason: str
    oddness: float


class _One:
    """A data set of one sample."""

    def __init__(self, sample: RawSample) -> None:
        self.sample = sample

    def __len__(self) -> int:
        return 1

    def samples(self, problems: list[Problem]) -> Iterator[RawSample]:
        yield self.sample


def draw_sheet(dataset: Dataset, title: str, images: int) -> Image.Image:
    """The sheet of at most `images` pictures of a data set. Raises UserError where no image is usable."""
    problems: list[Problem] = []
    pictures = [picture for sample in dataset.samples(problems) if (picture := look_at(sample, problems))]
    if not pictures:
        raise none_usable(title, len(dataset), problems)
    chosen = choose(pictures, images)
    dots = sum(len(picture.dots) for picture in pictures)
    head = f"{title}: {len(pictures):,} images, {dots:,} dots. Shown: {len(chosen)}, the oddest and most crowded first"
    return _compose(head, [_tile(picture) for picture in chosen], [_caption(picture) for picture in chosen])


def look_at(sample: RawSample, problems: list[Problem]) -> Picture | None:
    """One image as preparing it would have it, or None with a problem where it is not usable. Problems of its dots are
    the reason why it is odd."""
    own: list[Problem] = []
    prepared = next(prepare_images(_One(sample), None, own), None)
    problems += own
    if prepared is None:
        return None
    height, width = prepared.pixels.shape[:2]
    reason, oddness = oddity(prepared.dots, (width, height), own)
    return Picture(sample, (width, height), prepared.dots, reason, oddness)


def oddity(dots: np.ndarray, size: tuple[int, int], problems: list[Problem]) -> tuple[str, float]:
    """What is odd about an image with these dots (N, 2), in a few words, and how much so; ("", 0) for nothing."""
    if lost := [problem for problem in problems if problem.lost]:
        return f"{lost[0].what}: {lost[0].action}", 4.0
    if len(dots) >= FEW and (dots.max(axis=0) < CORNER * np.array(size)).all():
        return "all dots are in the top left: of another size?", 3.0
    if not len(dots):
        return "no dot", 2.0
    return (problems[0].what, HARMLESS) if problems else ("", 0.0)


def choose(pictures: list[Picture], images: int) -> list[Picture]:
    """At most half of `images` odd pictures, the oddest first, few of which are odd though nothing is lost; a third the
    most crowded; the rest evenly over the counts."""
    odd = sorted((picture for picture in pictures if picture.oddness > HARMLESS), key=lambda each: -each.oddness)
    odd = (odd + [picture for picture in pictures if picture.oddness == HARMLESS][: images // 6])[: images // 2]
    shown = {picture.sample.id for picture in odd}
    others = [picture for picture in pictures if picture.sample.id not in shown]
    others.sort(key=lambda each: -len(each.dots))
    crowded = max(1, images // 3)
    rest, places = others[crowded:], max(0, images - len(odd) - crowded)
    evenly = np.unique(np.linspace(0, len(rest) - 1, min(places, len(rest))).round().astype(int))
    return [*odd, *others[:crowded], *(rest[number] for number in evenly)][:images]


def _tile(picture: Picture) -> Image.Image:
    """The picture on the size of a tile, with its dots; dropped ones are crosses, on the border where they lie
    outside."""
    prepared = next(prepare_images(_One(picture.sample), None, []))
    room = (TILE[0] * OVERSAMPLING, TILE[1] * OVERSAMPLING)
    scale = min(room[0] / picture.size[0], room[1] / picture.size[1])
    size = (max(1, round(picture.size[0] * scale)), max(1, round(picture.size[1] * scale)))
    image = Image.fromarray(prepared.pixels).resize(size, Image.Resampling.LANCZOS)
    pen, dots = ImageDraw.Draw(image), picture.dots * scale
    for (x, y), radius in zip(dots, _radii(dots), strict=True):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), KEPT, EDGE, 2 if radius > 4 else 1)
    for x, y in (_dropped(picture) * scale).clip(CROSS, np.array(size) - CROSS):
        for sign in (-1, 1):
            pen.line((x - CROSS, y - CROSS * sign, x + CROSS, y + CROSS * sign), DROPPED, 5)
    return image.resize((max(1, size[0] // OVERSAMPLING), max(1, size[1] // OVERSAMPLING)), Image.Resampling.BOX)


def _radii(dots: np.ndarray) -> np.ndarray:
    """How large each dot (N, 2) is drawn, in pixels of a tile that is still oversampled: neighbours hardly touch."""
    return (0.35 * nearest_distances(dots)).clip(SMALLEST, LARGEST) if len(dots) > 1 else np.full(len(dots), LARGEST)


def _dropped(picture: Picture) -> np.ndarray:
    """The finite dots (N, 2) of the annotation that are not kept."""
    written = picture.sample.dots[np.isfinite(picture.sample.dots).all(axis=1)]
    kept = set(map(tuple, picture.dots.tolist()))
    return np.array([dot for dot in written.tolist() if tuple(dot) not in kept], float).reshape(-1, 2)


def _caption(picture: Picture) -> tuple[str, str, str]:
    name = Path(sample_name(picture.sample)).name
    id = picture.sample.id
    id = id if id.endswith((name, Path(name).stem)) else f"{id} ({name})"
    people = f"{len(picture.dots):,} {'dot' if len(picture.dots) == 1 else 'dots'}"
    return id, f"{people}, {picture.size[0]} x {picture.size[1]} px", picture.reason


def _compose(head: str, tiles: list[Image.Image], captions: list[tuple[str, str, str]]) -> Image.Image:
    columns, cell = min(COLUMNS, len(tiles)), (TILE[0] + MARGIN, TILE[1] + CAPTION + MARGIN)
    rows, top = -(-len(tiles) // columns), 60
    sheet = Image.new("RGB", (columns * cell[0] + MARGIN, top + rows * cell[1]), PAPER)
    pen = ImageDraw.Draw(sheet)
    _write(pen, (MARGIN, 18), head, 22, INK, sheet.width - 2 * MARGIN)
    for number, (tile, lines) in enumerate(zip(tiles, captions, strict=True)):
        left, above = MARGIN + number % columns * cell[0], top + number // columns * cell[1]
        sheet.paste(tile, (left, above + TILE[1] - tile.height))
        for line, (text, colour) in enumerate(zip(lines, (INK, SOFT, ODD), strict=True)):
            _write(pen, (left, above + TILE[1] + 4 + 18 * line), text, 14, colour, TILE[0])
    return sheet


def _write(pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, colour: str, width: int) -> None:
    """One line of text, shortened in its middle where it is wider than `width` pixels."""
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), size)
    half = len(text)
    shown = text = " ".join(text.split())
    while font.getlength(shown) > width:
        half -= 1
        shown = f"{text[: -(-half // 2)]}…{text[len(text) - half // 2 :]}"
    pen.text(place, shown, colour, font)
