"""The refiner g of section 3: a network that improves a hand-crafted density map while the counter learns from it.

Equation (3): ||f(X) - g(Y)||^2 + alpha ||g(Y) - Y||^2. Architecture: table 1, on Y at the counter's stride."""

from __future__ import annotations

from functools import partial

from pydantic import Field
from torch import Tensor, nn

from components.config.options import Optimiser, Options
from components.crowd import Batch, DensityMap, Window
from components.density_maps.crops import annotation, run_wider
from components.losses.shared.squared_error import squared_error
from components.networks import Initialisation, initialise, relu_convolutions


class Params(Options):
    """`widths`: features of the convolutions before the last; the paper's by default."""

    alpha: float = Field(1.0, ge=0)
    widths: tuple[int, ...] = Field((512, 512, 256, 128, 64), min_length=1)
    update_every: int = Field(1, ge=1)
    warm_up: int = Field(150, ge=0, description="steps alone towards the annotation map, before the counter starts")
    warm_up_lr: float = Field(1e-3, gt=0)
    initialisation: Initialisation = "he"
    optimiser: Optimiser = Optimiser(lr=1e-4)


PRESETS = {"paper": {"warm_up": 0, "initialisation": "default", "optimiser": {"kind": "adam", "lr": 1e-5}}}


def build(params: Params, stride: int, scale: float) -> Refiner:
    return Refiner(params, stride, scale)


class Refiner(DensityMap):
    """g: annotation maps in, maps of the same size out, both multiplied by `scale`."""

    def __init__(self, params: Params, stride: int, scale: float) -> None:
        super().__init__(params, stride, scale)
        self.layers = nn.Sequential(*relu_convolutions((1, *params.widths, 1))[:-1])
        self.margin = (len(params.widths) + 1) * stride
        initialise(self, params.initialisation)

    def forward(self, batch: Batch, windows: list[Window]) -> Tensor:
        """The maps of a batch at `windows`, (B, 1, h, w)."""
        return run_wider(partial(self._run, batch), batch, windows, self.margin, self.stride)

    def _run(self, batch: Batch, numbers: list[int], windows: list[Window]) -> Tensor:
        return self.layers(self.scale * annotation(batch, numbers, windows, self.stride))

    def refinement_loss(self, maps: Tensor, batch: Batch, windows: list[Window]) -> Tensor:
        target = self.scale * annotation(batch, range(len(windows)), windows, self.stride)
        return self.params.alpha * squared_error(maps, target)
