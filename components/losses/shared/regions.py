"""Regions of interest: what of a prediction lies inside."""

from __future__ import annotations

from torch import Tensor


def mask_people(people: Tensor, regions: Tensor | None) -> Tensor:
    """People (B, 1, h, w) times the share of each cell that lies in the region of interest; None: all of it."""
    return people if regions is None else people * regions
