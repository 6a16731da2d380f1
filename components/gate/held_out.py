"""One pass over the held-out images: both counters' scores, and what is needed to find copies of the images."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

import numpy as np

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
from components.workspace.progress import progress


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


def measure(held_out: HeldOut, candidate: Predictor, current: Predictor | None, shown: int, where: str) -> Measured:
    """Count every held-out image with both counters. Raises UserError: the data set is not there or has no usable
    image, its hash is another than the policy's, or a camera's name is not found in an id."""
    dataset = open_dataset(DatasetEntry(source=held_out.source), f"{where}: held_out.source")
    predictors = [candidate] if current is None else [candidate, current]
    problems: list[Problem] = []
    images = progress(prepare_images(dataset, None, problems), "held-out images", len(dataset), "images")
    step = max(1, len(dataset) // shown)
    scored: list[list[Score]] = [[] for _ in predictors]
    cameras: list[str] = []
    files: list[str] = []
    signatures: list[ImageSignature] = []
    pictures: list[np.ndarray] = []
    total = hashlib.sha256()
    for image in images:
        if held_out.half is not None and image.published_split != held_out.half:
            continue
        if len(files) % step == 0 and len(pictures) < shown:
            pictures.append(image.pixels)
        for scores, predictor in zip(scored, predictors, strict=True):
            scores.append(_score(image, predictor))
        cameras.append(_camera(image, held_out.camera, where))
        files.append(image.sha256)
        signatures.append(image_signature(image.pixels))
        total.update(json.dumps([image.id, image.sha256, image.dots.tolist()]).encode())
    if not files:
        half = f" of the half {held_out.half}" if held_out.half else ""
        raise UserError(f"{where}: held_out: has no usable image{half}; {len(problems)} problems were found in it")
    if held_out.sha256 not in (None, total.hexdigest()):
        raise UserError(
            f"{where}: held_out.sha256: these are other images or dots than those that were frozen "
            f"({total.hexdigest()}); put them back, or freeze the new set, with which no earlier answer compares"
        )
    both = [stack_scores({0: scores}) for scores in scored]
    return Measured(
        both[0],
        both[1] if current is not None else None,
        tuple(cameras),
        tuple(files),
        signatures,
        pictures,
        total.hexdigest(),
    )


def _score(image: PreparedImage, predictor: Predictor) -> Score:
    """The score of an image that came at its own size, on the grid on which this counter sees it."""
    size = (image.pixels.shape[1], image.pixels.shape[0])
    (width, height), _ = scaled_size(size, predictor.longest_side)
    region = None if image.region is None else cell_shares(image.region, (height, width), predictor.stride)
    seen = EvalImage(image.id, image.pixels, image.dots * (np.array([width, height]) / size), region, image.scene)
    return score_image(seen, predictor.density(image.pixels), predictor.stride)


def _camera(image: PreparedImage, pattern: str | None, where: str) -> str:
    if pattern is None or pattern == "scene":
        return image.scene
    found = re.search(pattern, image.id)
    if found is None:
        raise UserError(f"{where}: held_out.camera: {pattern!r} is not found in the id {image.id!r}")
    return found.group(1)
