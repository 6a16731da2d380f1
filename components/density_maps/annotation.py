"""The annotation map of one image: its dots, drawn with the bandwidths that a kind in `drawn/` gives them."""

from __future__ import annotations

import numpy as np
import torch

from components.crowd import CELL
from components.data.manifest import Row
from components.density_maps.gaussian import draw_within


def annotation_map(row: Row, bandwidths: np.ndarray, region: np.ndarray | None = None, side: int = CELL) -> np.ndarray:
    """The map (ceil(H / side), ceil(W / side)) float32 of an image, people per cell, of dots with bandwidths (N,) px.

    With a region of interest (the share of each cell that lies in it) the map is 0 outside, and each dot weighs 1
    inside: as at the image's border, the mass that is cut off is given back."""
    dots, sigmas = torch.from_numpy(row.dots), torch.from_numpy(bandwidths)
    shares = None if region is None else torch.from_numpy(region)
    drawn: np.ndarray = draw_within(dots, sigmas, (row.height, row.width), shares, side).numpy()
    people = len(row.dots)
    assert abs(drawn.sum(dtype=np.float64) - people) <= 1e-4 * max(1, people), f"{row.id}: a map that loses people"
    return drawn
