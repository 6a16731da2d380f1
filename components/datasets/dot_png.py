"""Images beside images of dots: `001cell.png` with `001dots.png`, in which every pixel with red above 0 is one dot.

The layout of the synthetic fluorescence cells of Lempitsky and Zisserman, "Learning To Count Objects in Images", NIPS
2010. A dot lies in the middle of its pixel. Two objects in one pixel cannot be told apart in this format."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field

from components.config.options import Options
from components.crowd import Problem, RawSample
from components.datasets.shared.files import images_by_stem
from components.datasets.shared.pairs import Pair, Pairs, pair_up
from components.errors import UserError


class Params(Options):
    """`root` holds both; names differ in how they end before the suffix."""

    root: Path
    image: str = Field("cell", description="how the name of an image ends; may be empty")
    dots: str = Field("dots", min_length=1, description="how the name of an image of dots ends")


class DotPng(Pairs):
    truth = "image"

    def sample(self, pair: Pair, problems: list[Problem]) -> RawSample:
        sample = super().sample(pair, problems)
        assert pair.image is not None
        assert pair.truth is not None
        if _size(pair.image) not in (None, _size(pair.truth)):
            raise UserError(f"is not of the size of {pair.image.name}: save both in one size")
        return sample


def build(params: Params) -> DotPng:
    found = images_by_stem(params.root)
    truths = {stem.removesuffix(params.dots): path for stem, path in found.items() if stem.endswith(params.dots)}
    others = {stem: path for stem, path in found.items() if not stem.endswith(params.dots)}
    images = {stem.removesuffix(params.image): path for stem, path in others.items() if stem.endswith(params.image)}
    layout = f"NAME{params.image}.png beside NAME{params.dots}.png"
    return DotPng(pair_up(images, truths), read_dots, str(params.root), layout)


def recognise(root: Path) -> list[dict[str, Any]]:
    stems = images_by_stem(root)
    return [{}] if any(stem.removesuffix("cell") + "dots" in stems for stem in stems if stem.endswith("cell")) else []


def read_dots(path: Path, problems: list[Problem]) -> np.ndarray:
    """Dots (N, 2) float64, row by row. Raises UserError: what cannot be decoded."""
    try:
        with (
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(path) as image,
        ):
            red = np.asarray(image if image.mode in ("L", "1") else image.convert("RGB").getchannel("R"))
    except Exception as error:  # a damaged file fails in Pillow's decoders with errors of any type
        raise UserError(f"cannot be decoded ({type(error).__name__})") from None
    rows, columns = np.nonzero(red)
    return np.column_stack([columns, rows]) + 0.5


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height; None for what is no image: that is said where images are decoded."""
    try:
        with Image.open(path) as image:
            return image.size
    except Exception:  # a damaged file fails in Pillow with errors of any type
        return None
