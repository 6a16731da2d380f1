"""The counting loss of equations (3) and (7): ||f(X) - M||^2, summed over the cells of each map."""

from __future__ import annotations

from torch import Tensor


def squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Two maps (B, 1, h, w) -> (B,)."""
    return (predicted - target).square().sum(dim=(1, 2, 3))
