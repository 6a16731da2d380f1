"""The local loss of table 4: the squared error of the count, averaged over patches of the image."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from components.crowd import pad_to


def local_count(maps: Tensor, annotations: Tensor, side: int) -> Tensor:
    """Two maps (B, 1, h, w) in people per cell -> (B,). Patches are `side` cells square, from the top-left corner on.

    The last patches of a row or a column may be cut off; they have the same weight as the others."""
    differences = pad_to(maps - annotations, side)
    counts = side**2 * functional.avg_pool2d(differences, side)
    return counts.square().mean(dim=(1, 2, 3))
