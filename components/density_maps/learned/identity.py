"""The annotation map itself is what the counter learns from: the plain baseline of tables 2 and 3."""

from __future__ import annotations

from torch import Tensor, nn

from components.crowd import Batch, Window
from components.density_maps.windows import annotation
from components.params import Options


class Params(Options):
    pass


def build(params: Params, stride: int, scale: float) -> Identity:
    return Identity(stride, scale)


class Identity(nn.Module):
    """M = Y, multiplied by `scale`."""

    update_every = 1

    def __init__(self, stride: int, scale: float) -> None:
        super().__init__()
        self.stride, self.scale = stride, scale

    def forward(self, batch: Batch, windows: list[Window]) -> Tensor:
        return self.scale * annotation(batch, range(len(windows)), windows, self.stride)

    def refinement_loss(self, maps: Tensor, batch: Batch, windows: list[Window]) -> Tensor:
        return maps.new_zeros(len(maps))
