"""One bandwidth for every dot, as in Lempitsky & Zisserman (NIPS 2010). The paper's tables have sigma 16 and 4 px."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from components.config.options import Options


class Params(Options):
    sigma: float = Field(4.0, gt=0, description="pixels of the prepared image")


class Fixed:
    """The same Gaussian at every dot."""

    def __init__(self, *, sigma: float) -> None:
        self.sigma = sigma

    def bandwidths(self, dots: np.ndarray, perspective: np.ndarray | None = None) -> np.ndarray:
        """The sigmas (N,) in pixels of dots (N, 2)."""
        return np.full(len(dots), self.sigma)


def build(params: Params) -> Fixed:
    return Fixed(sigma=params.sigma)
