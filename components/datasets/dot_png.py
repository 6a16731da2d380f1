"""Images beside images of dots: `001cell.png` with `001dots.png`, in which every marked pixel is one dot.

The layout of the synthetic fluorescence cells of Lempitsky and Zisserman, "Learning To Count Objects in Images", NIPS
2010; TRANCOS and MBM call theirs `1.jpg` with `1dots.png` and `1.png` with `1_dots.png`. A dot lies in the middle of
its pixel. Two objects in one pixel cannot be told apart in this format.

Sure are single pixels of one pure colour on opaque black in a file without loss. A few that touch are counted, and
said. Everything else is refused unless an option says how it is to be read: with `threshold`, each group of pixels that
are at least so bright is one dot, at its middle; with `colour`, a pixel is as bright as its channel exceeds the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field, field_validator
from scipy import ndimage

from components.config.options import Options
from components.crowd import Problem, RawSample
from components.data.decode import open_image
from components.datasets.shared.files import IMAGES, image_size, is_image
from components.datasets.shared.halves import Halves, held_out_folders, resolve_halves, split_in_folders
from components.datasets.shared.listed import undeclared_halves
from components.datasets.shared.pairs import Pair, Pairs, pair_up
from components.errors import UserError

LOSSLESS = {"PNG", "BMP", "GIF", "PPM", "TIFF"}
LOSSY_TIFF = {"jpeg", "webp"}
CHANNELS = ("red", "green", "blue")
PURE = 128  # how much brighter than the others a channel of a pure colour is
TOUCHING, TOGETHER = 0.15, 3  # the largest share of single pixels that touch by chance, and the largest group of them
LARGE = 1.75  # times the median: a group of pixels that may be several dots
CODE = np.array([65536, 256, 1], np.int32)  # makes one number of the three of a colour
NEIGHBOURS = np.ones((3, 3), bool)
ENDS = (
    ("cell", "dots"),
    ("", "_dots"),
    ("", "dots"),
    ("images/{}", "dots/{}"),
)  # of the names of images and of dots, the strictest first


class Params(Options):
    """`root` holds both. `image` and `dots` say how names end, or are patterns: `images/{}.png`, `dots/{}.png`."""

    root: Path = Field(description="the folder that holds images and images of dots")
    image: str = Field("cell", description="how the name of an image ends, or a pattern; may be empty")
    dots: str = Field("dots", min_length=1, description="how the name of an image of dots ends, or a pattern")
    threshold: int | None = Field(None, ge=1, le=255, description="each group of pixels so bright is one dot")
    colour: Literal["red", "green", "blue", "white"] | None = Field(None, description="of the marks; none: any, one")
    touching: Literal["pixels", "groups"] | None = Field(None, description="what counts where marked pixels touch")
    halves: Halves = Field(Halves(), description="folders below `root` with images and dots, by split")

    @field_validator("image", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        return "" if value is None else value


class DotPng(Pairs):
    truth = "image"

    def __init__(self, params: Params) -> None:
        halves = resolve_halves(params.root, params.halves)
        found = _pairs(params)
        pairs = [pair._replace(split=split_in_folders(path, halves)) for pair in found if (path := _any_path(pair))]
        layout = f"{_pattern(params.image).format('NAME')} with {_pattern(params.dots).format('NAME')}"
        super().__init__(pairs, partial(read_dots, params), str(params.root), layout)
        self.halves, self.root = halves, params.root

    def samples(self, problems: list[Problem]) -> Iterator[RawSample]:
        folders = held_out_folders(_names(self.root, self.pairs))
        if folders and not self.halves:
            problems.append(undeclared_halves(self.root, folders))
        yield from super().samples(problems)

    def sample(self, pair: Pair, problems: list[Problem]) -> RawSample:
        assert pair.image is not None
        assert pair.truth is not None
        own, marks = image_size(pair.image), image_size(pair.truth)
        if own and marks and own != marks:
            sizes = f"{marks[0]} x {marks[1]} px, not {own[0]} x {own[1]} px"
            raise UserError(f"is not of the size of {pair.image.name} ({sizes}): save both in one size")
        if "train" in self.halves and pair.split is None:
            raise UserError("lies in none of the `halves`")
        return super().sample(pair, problems)


def build(params: Params) -> DotPng:
    return DotPng(params)


def recognise(root: Path) -> list[dict[str, Any]]:
    """The first of the known ways in which names end that some image and its dots have."""
    for image, dots in ENDS:
        pairs = [pair for pair in _pairs(Params(root=root, image=image, dots=dots)) if pair.image and pair.truth]
        if pairs:
            folders = held_out_folders(_names(root, pairs))
            ends = {} if image == "cell" else {"image": image, "dots": dots}
            return [ends | ({"halves": folders} if folders else {})]
    return []


def read_dots(params: Params, path: Path, problems: list[Problem]) -> np.ndarray:
    """Dots (N, 2) float64, row by row. Raises UserError: what cannot be decoded, or is not surely dots."""
    marks = marked(params, *_open(path))
    groups, number = ndimage.label(marks, NEIGHBOURS)
    sizes = np.bincount(groups.ravel())[1:]
    if params.touching == "groups" or (params.touching is None and params.threshold is not None):
        _check_groups(sizes, str(path), problems)
        middles = ndimage.center_of_mass(marks, groups, range(1, number + 1))
        return np.array(middles, np.float64).reshape(-1, 2)[:, ::-1] + 0.5
    if params.touching is None:
        _check_pixels(sizes, str(path), problems)
    rows, columns = np.nonzero(marks)
    return np.column_stack([columns, rows]) + 0.5


def _check_pixels(sizes: np.ndarray, file: str, problems: list[Problem]) -> None:
    """Name pixels that touch, by the sizes of their groups. Raises UserError: more than do so by chance."""
    touching, together = int(sizes[sizes > 1].sum()), int((sizes > 1).sum())
    if not touching:
        return
    what = f"{touching} of its {int(sizes.sum())} marked pixels touch another, in {together} groups"
    if touching > TOUCHING * sizes.sum() or sizes.max() > TOGETHER:
        raise UserError(f"{what}: set `touching: groups` to count each group once, or `touching: pixels`")
    action = "each pixel counts; set `touching: pixels` if that is right"
    problems.append(Problem(file, what, action, "dots-touching"))


def _check_groups(sizes: np.ndarray, file: str, problems: list[Problem]) -> None:
    """Name groups that are so large that they may be several dots."""
    large = int((sizes > LARGE * np.median(sizes)).sum()) if len(sizes) else 0
    if large:
        what = f"{large} of its {len(sizes)} groups of pixels are far larger than the others"
        problems.append(Problem(file, what, "each counts once: look whether dots touch", "dots-touching"))


def marked(params: Params, pixels: np.ndarray, doubt: str) -> np.ndarray:
    """Which pixels (H, W) of an image (H, W, 3) uint8 are marks; `doubt` says why its colours may not be those drawn.

    Raises UserError: that is not sure, or most of the image is marked."""
    if doubt and params.threshold is None:
        raise UserError(f"{doubt}: save it as PNG in RGB, or set `threshold`")
    values = pixels.astype(np.int16)
    if params.colour in CHANNELS:
        channel = CHANNELS.index(params.colour)
        strength = values[..., channel] - np.delete(values, channel, axis=2).max(axis=2)
    else:
        strength = values.min(axis=2) if params.colour == "white" else values.max(axis=2)
    marks: np.ndarray = strength >= (params.threshold or (PURE if params.colour else 1))
    if params.colour is None and params.threshold is None:
        _check_pure(pixels)
    if 2 * marks.sum() > marks.size:
        raise UserError("more than half of it is marked: marks must be bright on a dark ground")
    return marks


def _check_pure(pixels: np.ndarray) -> None:
    """Raises UserError: the ground is not black, or the marks are not of one colour that is pure."""
    codes, numbers = np.unique(pixels.astype(np.int32) @ CODE, return_counts=True)
    colours = np.column_stack([codes // CODE[0], codes // CODE[1] % CODE[1], codes % CODE[1]])
    ground = colours[numbers.argmax()]
    if ground.any():
        raise UserError(f"its ground is {_name(ground)}, not black: set `colour` to that of the dots")
    others = colours[colours.any(axis=1)]
    if len(others) > 1:
        few = ", ".join(map(_name, others[:3]))
        raise UserError(f"its marks have {len(others)} colours ({few}...), not one: set `colour` or `threshold`")
    if len(others) and not np.isin(others, (0, 255)).all() and len({*others[0].tolist()}) > 1:
        raise UserError(f"its marks are {_name(others[0])}, which is no pure colour: set `colour` or `threshold`")


def _name(colour: np.ndarray) -> str:
    return f"rgb({', '.join(map(str, colour.tolist()))})"


def _open(path: Path) -> tuple[np.ndarray, str]:
    """RGB (H, W, 3) uint8 on black, and why its colours may not be the drawn ones. Raises UserError: not decoded."""
    try:
        as_error = warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning)
        with as_error, open_image(path) as image:
            lossy = image.format not in LOSSLESS or str(image.info.get("compression")) in LOSSY_TIFF
            alpha = np.asarray(image.convert("RGBA").getchannel("A")) if image.has_transparency_data else None
            if image.mode.startswith(("I", "F")):
                deep = np.asarray(image, np.float64)
                grey = (deep * (255 / max(deep.max(), 1))).clip(0, 255).astype(np.uint8)
                pixels = np.repeat(grey[..., None], 3, axis=2)
            else:
                pixels = np.asarray(image.convert("RGB"))
    except Exception as error:  # a damaged file fails in Pillow's decoders with errors of any type
        raise UserError(f"cannot be decoded ({type(error).__name__})") from None
    if alpha is not None and (alpha < 255).any():
        on_black: np.ndarray = (pixels * (alpha[..., None] / 255)).astype(np.uint8)
        return on_black, "is transparent in places"
    return pixels, "is of a format that changes colours" if lossy else ""


def _pairs(params: Params) -> list[Pair]:
    """Images and images of dots by what their names share; a second file of dots of one name is a rival."""
    truths = _matching(params.root, params.dots)
    dots = {path for paths in truths.values() for path in paths}
    images = {
        name: [path for path in paths if path not in dots]
        for name, paths in _matching(params.root, params.image).items()
    }
    whole = {name: [*paths, *truths.get(name, [])[1:]] for name, paths in images.items() if paths}
    return pair_up(whole, {name: paths[0] for name, paths in truths.items()})


def _names(root: Path, pairs: list[Pair]) -> list[str]:
    """The paths of images from the root."""
    return [pair.image.relative_to(root).as_posix() for pair in pairs if pair.image]


def _any_path(pair: Pair) -> Path | None:
    return pair.image or pair.truth


def _matching(root: Path, written: str) -> dict[str, list[Path]]:
    """Images that a pattern fits, by what stands for `{}`; a pattern without a suffix fits every image's."""
    start, _, end = _pattern(written).partition("{}")
    found: dict[str, list[Path]] = {}
    for path in sorted(filter(is_image, root.rglob("*"))):
        name = path.relative_to(root)
        whole = name.as_posix() if end.lower().endswith(tuple(IMAGES)) else name.with_suffix("").as_posix()
        if len(whole) >= len(start + end) and whole.startswith(start) and whole.endswith(end):
            found.setdefault(whole[len(start) : len(whole) - len(end)], []).append(path)
    return found


def _pattern(written: str) -> str:
    """A pattern, also of what is only how names end."""
    return written if "{}" in written else f"{{}}{written}"
