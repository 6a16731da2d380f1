"""The local loss of table 4: the squared error of the count, averaged over patches of the image."""

from __future__ import annotations

from torch import Tensor

from components.crowd import block_sums


def local_count(maps: Tensor, annotations: Tensor, side: int) -> Tensor:
    """Two maps (B, 1, h, w) in people per cell -> (B,). Patches are `side` cells square, from the top-left corner on.

    The last patches of a row or a column may be cut off; they have the same weight as the others."""
    return block_sums(maps - annotations, side).square().mean(dim=(1, 2, 3))
