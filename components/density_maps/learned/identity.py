"""The annotation map itself is what the counter learns from: the plain baseline of tables 2 and 3.

In cells on the border of a region of interest the annotation map holds only the people inside the region. The target,
like a prediction, is for the whole cell, so these cells are divided by the fraction that lies inside."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from components.config.options import Options
from components.crowd import Crop, DensityMap
from components.density_maps.crops import annotation_maps, region_masks


class Params(Options):
    pass


def build(params: Params, stride: int, scale: float) -> Identity:
    return Identity(params, stride, scale)


class Identity(DensityMap):
    """M = Y, multiplied by `scale`."""

    def forward(self, crops: Sequence[Crop]) -> Tensor:
        """The maps of the crops' windows, (B, 1, h, w) people per cell times `scale`."""
        maps = self.scale * annotation_maps(crops, self.stride)
        masks = region_masks(crops, self.stride)
        return maps if masks is None else maps / masks.where(masks > 0, 1)
