"""Geometry-adaptive bandwidths: heads are about as large as the gaps between them, so sigma follows the neighbours.

sigma_i = 0.3 x mean distance to the 3 nearest other dots: Zhang et al., "Single-Image Crowd Counting via Multi-Column
CNN" (CVPR 2016), section 2.2, with the neighbours of CSRNet (Li et al., CVPR 2018). Neither treats isolated dots,
whose sigma reaches 205 px on ShanghaiTech B, or coinciding ones, whose sigma is 0: here sigma is clamped."""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator
from scipy.spatial import KDTree

from components.config.options import Options
from components.errors import UserError


class Params(Options):
    neighbours: int = Field(3, ge=1, description="how many nearest dots give a dot its sigma")
    factor: float = Field(0.3, gt=0, description="sigma per mean distance to the neighbours")
    smallest: float = Field(1.0, gt=0, description="pixels of the prepared image")
    largest: float = Field(40.0, gt=0, description="pixels of the prepared image")
    fallback: float = Field(4.0, gt=0, description="sigma where dots are too few, pixels")

    @model_validator(mode="after")
    def _ordered(self) -> Params:
        if self.smallest > self.largest:
            raise UserError(f"smallest: {self.smallest} is above largest: {self.largest}; swap them")
        return self


class Adaptive:
    """Small Gaussians in a crowd, large ones for people who stand apart."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def bandwidths(self, dots: np.ndarray, perspective: np.ndarray | None = None) -> np.ndarray:
        """The sigmas (N,) in pixels of dots (N, 2). Other dots at distance 0 are neighbours like any other."""
        params = self.params
        if len(dots) <= params.neighbours:
            return np.full(len(dots), params.fallback)
        distances, _ = KDTree(dots).query(dots, k=params.neighbours + 1)
        others = distances[:, 1:]  # in rising order: the first is 0, the dot itself or one that coincides with it
        return np.asarray(np.clip(params.factor * others.mean(axis=1), params.smallest, params.largest))


def build(params: Params) -> Adaptive:
    return Adaptive(params)
