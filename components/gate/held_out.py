"""One pass over the held-out images: both counters' scores, and what is needed to find copies of the images."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from components.config.study import DatasetEntry
from components.crowd import Problem
from components.data.availability import open_dataset
from components.data.decode import PreparedImage, prepare_images, scaled_size
from components.data.duplicates import ImageSignature, image_signature
from components.data.regions import cell_shares
from components.errors import UserError
from components.evaluation.score import EvalImage, Score, score_image
from components.evaluation.scores import Scores, stack_scores
from components.gate.policy import HeldOut
from components.runs.predictor import Predictor


@dataclass(frozen=True)
class Measured:
    """What was measured on the n held-out images. `cameras` (n,); "" where none is known. `shown` are some of the
    images, (H, W, 3) uint8, evenly spread. `sha256` is that of all the images and their dots."""

    candidate: Scores
    current: Scores | None
    cameras: tuple[str, ...]
    files: tuple[str, ...]  # SHA-256 of each image's file
    signatures: list[ImageSignature]
    shown: list[np.ndarray]
    sha256: str

    def errors(self, current: bool = False) -> np.ndarray:
        """Absolute errors of the counts (n,): the candidate's, or those of the counter in use."""
        scores = self.current if current else self.candidate
        assert scores is not None
        errors: np.ndarray = np.abs(scores.prediction[0] - scores.truth)
        return errors


class Seen(NamedTuple):
    """One held-out image after it was counted: a score for each counter; what is frozen of it, as text."""

    scores: tuple[Score, ...]
    camera: str
    file: str
    signature: ImageSignature
    frozen: str


def measure(held_out: HeldOut, candidate: Predictor, current: Predictor | None, shown: int, where: str) -> Measured:
    """Count every held-out image with both counters. Raises UserError: the data set is not there or has no usable
    image, its hash is another than the policy's, or a camera's name is not found in an id."""
    dataset = open_dataset(DatasetEntry(source=held_out.source), f"{where}: held_out.source")
    predictors = [candidate] if current is None else [candidate, current]
    problems: list[Problem] = []
    images = tqdm(prepare_images(dataset, None, problems), "held-out", len(dataset), unit=" images", disable=None)
    seen: list[Seen] = []
    pictures, step = list[np.ndarray](), 1
    for image in images:
        if held_out.half not in (None, image.published_split):
            continue
        if len(seen) % step == 0:
            pictures.append(image.pixels)
        if len(pictures) == 2 * shown:
            pictures, step = pictures[::2], 2 * step
        seen.append(_look(image, predictors, held_out.camera, where))
    pictures = [pictures[n] for n in np.linspace(0, len(pictures) - 1, min(shown, len(pictures))).astype(int)]
    sha256 = hashlib.sha256("".join(each.frozen for each in seen).encode()).hexdigest()
    _check_frozen(held_out, sha256, len(seen), len(problems), where)
    ours, *theirs = (stack_scores({0: list(scores)}) for scores in zip(*(each.scores for each in seen), strict=True))
    _, cameras, files, signatures, _ = zip(*seen, strict=True)
    return Measured(ours, theirs[0] if theirs else None, cameras, files, list(signatures), pictures, sha256)


def _look(image: PreparedImage, predictors: Sequence[Predictor], camera: str | None, where: str) -> Seen:
    return Seen(
        tuple(_score(image, predictor) for predictor in predictors),
        _camera(image, camera, where),
        image.sha256,
        image_signature(image.pixels),
        json.dumps([image.id, image.sha256, image.dots.tolist()]),
    )


def _check_frozen(held_out: HeldOut, sha256: str, images: int, problems: int, where: str) -> None:
    if not images:
        half = f" of the half {held_out.half}" if held_out.half else ""
        raise UserError(f"{where}: held_out: has no usable image{half}; {problems} problems were found in it")
    if held_out.sha256 not in (None, sha256):
        raise UserError(
            f"{where}: held_out.sha256: these are other images or dots than those that were frozen ({sha256}); put "
            "them back, or freeze the new set, with which no earlier answer compares"
        )


def _score(image: PreparedImage, predictor: Predictor) -> Score:
    """The score of an image that came at its own size, on the grid on which this counter sees it."""
    size = (image.pixels.shape[1], image.pixels.shape[0])
    (width, height), _ = scaled_size(size, predictor.longest_side)
    region = None if image.region is None else cell_shares(image.region, (height, width), predictor.stride)
    seen = EvalImage(image.id, image.pixels, image.dots * (np.array([width, height]) / size), region, image.scene)
    return score_image(seen, predictor.density(image.pixels), predictor.stride)


def _camera(image: PreparedImage, pattern: str | None, where: str) -> str:
    if pattern is None:
        return image.scene
    found = re.search(pattern, image.id)
    if found is None:
        raise UserError(f"{where}: held_out.camera: {pattern!r} is not found in the id {image.id!r}")
    return found.group(1) or ""
