"""The refiner g of section 3: a network that improves a hand-crafted density map while the counter learns from it.

Equation (3): ||f(X) - g(Y)||^2 + alpha ||g(Y) - Y||^2. Architecture: table 1, on Y at the counter's stride."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor, nn

from components.config.options import Optimiser, Options
from components.crowd import Crop, DensityMap
from components.density_maps.crops import annotation_maps, apply_with_margin
from components.losses.shared.squared_error import squared_error
from components.networks import Initialisation, initialise, relu_convolutions


class Params(Options):
    """The default `widths` are the paper's."""

    alpha: float = Field(1.0, ge=0, description="weight of the second loss, of equation (3)")
    widths: tuple[int, ...] = Field(
        (512, 512, 256, 128, 64), min_length=1, description="output features of all convolutions but the last"
    )
    update_every: int = Field(1, ge=1, description="the map learns in every n-th epoch")
    warm_up: int = Field(150, ge=0, description="steps alone towards the annotation map, before the counter starts")
    warm_up_lr: float = Field(1e-3, gt=0, description="learning rate of these steps")
    initialisation: Initialisation = Field("he", description="of the weights; normal: N(0, 0.01), default: PyTorch's")
    optimiser: Optimiser = Optimiser(lr=1e-4)


PRESETS = {"paper": {"warm_up": 0, "initialisation": "default", "optimiser": {"kind": "adam", "lr": 1e-5}}}


def build(params: Params, stride: int, scale: float) -> Refiner:
    return Refiner(params, stride, scale)


class Refiner(DensityMap):
    """g: makes maps of the same size out of annotation maps; both are multiplied by `scale`."""

    def __init__(self, params: Params, stride: int, scale: float) -> None:
        super().__init__(params, stride, scale)
        self.layers = nn.Sequential(*relu_convolutions((1, *params.widths, 1))[:-1])
        self.margin = (len(params.widths) + 1) * stride
        initialise(self, params.initialisation)

    def forward(self, crops: Sequence[Crop]) -> Tensor:
        """The maps of crops, (B, 1, h, w) people per cell times `scale`."""
        return apply_with_margin(self._run, crops, self.margin, self.stride)

    def _run(self, crops: Sequence[Crop]) -> Tensor:
        maps: Tensor = self.layers(self.scale * annotation_maps(crops, self.stride))
        return maps

    def refinement_loss(self, maps: Tensor, crops: Sequence[Crop]) -> Tensor:
        """alpha ||g(Y) - Y||^2 of each crop, (B,)."""
        loss: Tensor = self.params.alpha * squared_error(maps, self.scale * annotation_maps(crops, self.stride))
        return loss
