"""Kinds of hand-crafted density maps: a file gives the bandwidth of each dot; `gaussian.py` draws the map."""

from typing import Protocol

import numpy as np


class Kernel(Protocol):
    """What `build(Params)` of a file in this folder returns."""

    def bandwidths(self, dots: np.ndarray, perspective: np.ndarray | None = None) -> np.ndarray:
        """The sigmas (N,), above 0, of dots (N, 2), both in pixels; N may be 0.

        `perspective` (N,) is pixels per metre at the dots, where the scene has a map of them."""
