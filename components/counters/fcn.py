"""FCN-7c: seven plain convolutions, the first four with local response normalisation. Stride 4.

Kang, Chan, "Crowd Counting by Adaptively Fusing Predictions from an Image Pyramid", BMVC 2018. Its layers here, 5 x 5
throughout and 16-16-pool-32-32-pool-64-32-1 wide, are reconstructed from the same laboratory's later code; the
constants of the normalisation are PyTorch's defaults (5 channels, alpha 1e-4, beta 0.75, k 1). 149,393 parameters."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from pydantic import Field
from torch import Tensor, nn

from components.config.options import Optimiser, Options
from components.counters.shared.preprocessing import standardise
from components.crowd import RANDOM_INITIALISATION, Counter, pad_to
from components.errors import UserError
from components.networks import Initialisation, initialise

FEATURES = (3, 16, 16, 32, 32, 64, 32)
NORMALISED = 4  # the first convolutions, which a local response normalisation follows
POOLED = (2, 4)  # the convolutions, counted from 1, that a pooling follows


class Params(Options):
    weights: Path | None = Field(None, description="a run's folder or a weights file of dotfield; none: random")
    initialisation: Initialisation = Field("he", description="of the weights; normal: N(0, 0.01), default: PyTorch's")
    optimiser: Optimiser = Optimiser(lr=3e-4)


PRESETS = {"paper": {"initialisation": "normal", "optimiser": {"kind": "adam", "lr": 1e-5}}}


def build(params: Params, channels: int = 1) -> FCN7c:
    return FCN7c(params, channels)


class FCN7c(Counter):
    stride = 4

    def __init__(self, params: Params, channels: int) -> None:
        super().__init__()
        self.params = params
        self.features = _features()
        self.output = nn.Conv2d(FEATURES[-1], channels, 5, padding=2)
        initialise(self, params.initialisation)

    def load_pretrained(self) -> str:
        if self.params.weights:
            raise UserError(
                f"counter.weights: {self.params.weights}: must be a run's folder or a weights file of dotfield"
            )
        return RANDOM_INITIALISATION

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> (B, channels, ceil(H/4), ceil(W/4))."""
        maps: Tensor = self.output(self.features(pad_to(standardise(images), self.stride)))
        return maps


def _features() -> nn.Sequential:
    layers: list[nn.Module] = []
    for number, (narrow, wide) in enumerate(pairwise(FEATURES), start=1):
        layers += [nn.Conv2d(narrow, wide, 5, padding=2), nn.ReLU(inplace=True)]
        layers += [nn.LocalResponseNorm(5)] if number <= NORMALISED else []
        layers += [nn.MaxPool2d(2)] if number in POOLED else []
    return nn.Sequential(*layers)
