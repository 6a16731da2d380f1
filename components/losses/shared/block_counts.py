"""Squared errors of counts in blocks of several sizes: a missing person costs more than one slightly misplaced."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from components.crowd import block_sums, pad_to


def block_counts(maps: Tensor, truths: Tensor, sides: Sequence[int]) -> Tensor:
    """Two maps (B, 1, h, w) -> (B,): squared differences of block sums, added up over all blocks of all `sides`.

    `sides` are in cells. Blocks start at the top-left corner; the last one of a row or a column may be cut off."""
    differences = pad_to(maps - truths, max(sides))
    counts = [block_sums(differences, side) for side in sides]
    return torch.stack([each.square().sum(dim=(1, 2, 3)) for each in counts]).sum(dim=0)
