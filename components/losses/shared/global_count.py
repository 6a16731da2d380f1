"""The refinement loss of equation (7): (1'M - 1'D)^2, the squared error of each map's count."""

from __future__ import annotations

from torch import Tensor


def global_count(maps: Tensor, counts: Tensor) -> Tensor:
    """Maps (B, 1, h, w) in people per cell and counts (B,) in people -> (B,)."""
    return (maps.sum(dim=(1, 2, 3)) - counts).square()
