"""WorldExpo'10 (Zhang et al., "Cross-scene Crowd Counting via Deep Convolutional Neural Networks", CVPR 2015).

3380 training frames of 103 scenes and 600 test frames of five others: `{train,test}_frame/**/SCENE_*.jpg`;
`{train,test}_label/SCENE/SCENE_*.mat` with `point_position` (N, 2) and `point_num`; beside them the scene's region of
interest, `roi.mat` with the corners of a polygon; and its perspective map, `{train,test}_perspective/SCENE.mat` with
`pMap` (H, W), pixels per metre. People outside the region are not counted."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from pydantic import Field

from components.config.options import Options
from components.crowd import Problem, RawSample
from components.datasets.shared.files import is_image
from components.datasets.shared.mat import as_dots, as_number, load_mat, mat_dots
from components.datasets.shared.pairs import Pair, Pairs, pair_up
from components.errors import UserError

HALVES = ("train", "test")
TEST_SCENES = ("104207", "200608", "200702", "202201", "500717")
CORNERS = ("maskVerticesXCoordinates", "maskVerticesYCoordinates")
ROI = "roi.mat"
FARTHEST = 1e6  # pixels: Pillow draws no polygon whose corners do not fit its integers
LAYOUT = "{train,test}_frame/*.jpg with {train,test}_label/SCENE/*.mat and {train,test}_perspective/SCENE.mat"
FROM = 'the authors of "Cross-scene Crowd Counting via Deep Convolutional Neural Networks" (Zhang et al., CVPR 2015)'


class Params(Options):
    """Where the data set lies, seen from the project's root."""

    root: Path = Field(description="the folder that holds `train_frame`")


class WorldExpo(Pairs):
    """Frames by half, scene and number; each scene's files are read once."""

    def __init__(self, root: Path) -> None:
        pairs = [pair for half in HALVES for pair in _pairs(root, half)]
        super().__init__(pairs, read_dots, str(root), LAYOUT)
        self._scene = cache(partial(read_scene, root))

    def sample(self, pair: Pair, problems: list[Problem]) -> RawSample:
        """A frame with its scene's region and perspective. Raises UserError: the frame's file, or its scene's."""
        assert pair.truth is not None
        roi, perspective = self._scene(pair.split, pair.truth.parent.name)
        return replace(super().sample(pair, problems), roi=roi, perspective=perspective, scene=pair.truth.parent.name)


def build(params: Params) -> WorldExpo:
    return WorldExpo(params.root)


def recognise(root: Path) -> list[dict[str, Any]]:
    return [{}] if any((root / f"{half}_label").is_dir() for half in HALVES) else []


def read_dots(path: Path, problems: list[Problem]) -> np.ndarray:
    """Dots (N, 2) float64 of one frame; a `point_num` that differs is added to `problems`. Raises UserError."""
    dots = mat_dots(path, "point_position")
    said = as_number(load_mat(path, "point_num")["point_num"], "point_num")
    if said != len(dots):
        problems.append(
            Problem(str(path), f"says {said} people, has {len(dots)} dots", "the dots count", "count-differs")
        )
    return dots


def read_scene(root: Path, half: str, scene: str) -> tuple[np.ndarray, np.ndarray]:
    """Region of interest and perspective map of a scene. Raises UserError: a file, or no official test scene."""
    if half == "test" and scene not in TEST_SCENES:
        raise UserError(f"scene {scene} is not one of the test scenes {', '.join(TEST_SCENES)}")
    perspective = read_perspective(root / f"{half}_perspective" / f"{scene}.mat")
    return read_roi(root / f"{half}_label" / scene / ROI, perspective.shape), perspective


def read_perspective(path: Path) -> np.ndarray:
    """The perspective map (H, W) float64 of a scene. Raises UserError, which names the file."""
    try:
        values = load_mat(path, "pMap")["pMap"]
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise UserError(f"{path}: pMap is not a table of numbers")
    perspective: np.ndarray = values.astype(np.float64)
    return perspective


def read_roi(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The region of interest (H, W) bool of a scene: its polygon, filled. Raises UserError, which names the file."""
    try:
        content = load_mat(path, *CORNERS)
        columns = [content[name].ravel() for name in CORNERS]
        if len(columns[0]) != len(columns[1]):
            raise UserError(f"has {len(columns[0])} x and {len(columns[1])} y coordinates of corners")
        corners = as_dots(np.column_stack(columns), "the polygon")
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if len(corners) < 3:
        raise UserError(f"{path}: the polygon has {len(corners)} corners, not three or more")
    if not (np.abs(corners) <= FARTHEST).all():  # nor if one is not a number
        raise UserError(f"{path}: the polygon has a corner that is no place in an image")
    mask = Image.new("1", (shape[1], shape[0]))
    ImageDraw.Draw(mask).polygon([(x, y) for x, y in corners.tolist()], fill=1)
    return np.asarray(mask)


def _pairs(root: Path, half: str) -> list[Pair]:
    images: dict[str, list[Path]] = {}
    for path in filter(is_image, sorted((root / f"{half}_frame").rglob("*"))):
        images.setdefault(path.stem, []).append(path)
    labels = sorted((root / f"{half}_label").glob("*/*.mat"))
    truths = {path.stem: path for path in labels if path.name != ROI}
    return pair_up(images, truths, half)
