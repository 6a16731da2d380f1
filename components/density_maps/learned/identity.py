"""The annotation map itself is what the counter learns from: the plain baseline of tables 2 and 3.

On the border of a region of interest it holds what counts of a cell, and M, as a prediction does, the whole of it."""

from __future__ import annotations

from torch import Tensor

from components.config.options import Options
from components.crowd import Batch, DensityMap, Window
from components.density_maps.crops import annotation, regions


class Params(Options):
    pass


def build(params: Params, stride: int, scale: float) -> Identity:
    return Identity(params, stride, scale)


class Identity(DensityMap):
    """M = Y, multiplied by `scale`."""

    def forward(self, batch: Batch, windows: list[Window]) -> Tensor:
        drawn = self.scale * annotation(batch, range(len(windows)), windows, self.stride)
        shares = regions(batch, range(len(windows)), windows, self.stride)
        return drawn if shares is None else drawn / shares.where(shares > 0, 1)
