"""Counting with a trained counter:

    import dotfield
    counter = dotfield.load()              # the released counter; or that of a run's folder or of a weights file,
                                           # dotfield.load("out/demo/runs/generated/seed-0")
    counter.count("photo.jpg")             # how many people it shows
    counter.density("photo.jpg")           # (h, w): people in each cell of `counter.stride` px

An image is a file or an array (H, W, 3) uint8 RGB. It is preprocessed as the counter's training images were."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.runs.predictor import Predictor

__all__ = ["load"]


def load(path: str | Path | None = None) -> Predictor:
    """The counter of a weights file, or of a run's folder; without a path, the one that this package ships.

    Raises components.errors.UserError: no such file, or it is damaged or not one of dotfield's."""
    from components.runs.predictor import load_predictor  # torch takes a second to import

    return load_predictor(path)
