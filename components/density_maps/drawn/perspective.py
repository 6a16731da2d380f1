"""Bandwidths that follow the scene's perspective map: people near the camera are large, and so are their Gaussians.

sigma_i = factor x M(p_i), M in pixels per metre. Zhang et al., "Cross-scene Crowd Counting via Deep Convolutional
Neural Networks" (CVPR 2015), section 3.1, for WorldExpo'10: the Gaussian of a head is 0.2 m wide. Below it they draw a
second one for the body, 0.2 m across and 0.5 m along; here a person is the head alone, where the dot is. What the
paper does not say is ours: sigma is clamped, as in `adaptive`, and where the map says nothing it is the smallest."""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from components.config.options import Options
from components.errors import UserError


class Params(Options):
    factor: float = Field(0.2, gt=0, allow_inf_nan=False, description="sigma in metres")
    smallest: float = Field(1.0, gt=0, description="pixels of the prepared image")
    largest: float = Field(40.0, gt=0, allow_inf_nan=False, description="pixels of the prepared image")

    @model_validator(mode="after")
    def _ordered(self) -> Params:
        if self.smallest > self.largest:
            raise UserError(f"smallest: {self.smallest} is above largest: {self.largest}; swap them")
        return self


class Perspective:
    """Gaussians as wide as a share of what a unit of length is there."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def bandwidths(self, dots: np.ndarray, perspective: np.ndarray | None = None) -> np.ndarray:
        """The sigmas (N,) in pixels. Raises UserError where the data set has no perspective map."""
        if perspective is None:
            raise UserError("kind perspective needs a data set with perspective maps; choose adaptive or fixed")
        return np.clip(self.params.factor * perspective, self.params.smallest, self.params.largest)


def build(params: Params) -> Perspective:
    return Perspective(params)
