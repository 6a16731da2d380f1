"""Bandwidths that follow the scene's perspective map: people near the camera are large, and so are their Gaussians.

sigma_i = factor x M(p_i), M in pixels per metre. Zhang et al., "Cross-scene Crowd Counting via Deep Convolutional
Neural Networks" (CVPR 2015), section 3.1, for WorldExpo'10: the Gaussian of a head is 0.2 m wide. Below it they draw a
second one for the body, 0.2 m wide and 0.5 m high; here only the head is drawn, where the dot is. The paper does not
say how sigma is bounded: here it is clamped, as in `adaptive`, so where the map is 0 it is `smallest`."""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from components.config.options import Options
from components.errors import UserError


class Params(Options):
    factor: float = Field(0.2, gt=0, description="sigma in metres")
    smallest: float = Field(1.0, gt=0, description="pixels of the prepared image")
    largest: float = Field(40.0, gt=0, description="pixels of the prepared image")

    @model_validator(mode="after")
    def _ordered(self) -> Params:
        if self.smallest > self.largest:
            raise UserError(f"smallest: {self.smallest} is above largest: {self.largest}; swap them")
        return self


class Perspective:
    """Gaussians whose bandwidth is a fixed length in metres."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def bandwidths(self, dots: np.ndarray, perspective: np.ndarray | None = None) -> np.ndarray:
        """The sigmas (N,) in pixels. Raises UserError where the data set has no perspective map."""
        if perspective is None:
            raise UserError("kind perspective needs a data set with perspective maps; choose adaptive or fixed")
        return np.clip(self.params.factor * perspective, self.params.smallest, self.params.largest)


def build(params: Params) -> Perspective:
    return Perspective(params)
