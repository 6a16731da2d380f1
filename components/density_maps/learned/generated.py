"""The generator of section 4: blurred dot maps, weighted by self-attention, fused into the map that the counter learns.

Equation (4): B_j = D * k_sigma_j. (5): A = F_a(B), a softmax over the k maps. (6): M = F_f(A x B).
Equation (7): ||f(X) - M||^2 + beta (1'M - 1'D)^2. Architectures: table 1. For a counter of stride 4 the last pooling of
F_f is dropped (the paper does not say). On a crop the count that M is held to is the annotation map's, which on a whole
image is the number of dots: dots cut off from their own kernels would reward the narrowest kernel."""

from __future__ import annotations

from functools import partial

import torch
from pydantic import Field
from torch import Tensor, nn

from components.crowd import Batch, DensityMap, Window
from components.density_maps._gaussian import draw
from components.density_maps.windows import annotation, run_wider
from components.losses.global_count import global_count
from components.networks import Initialisation, initialise, relu_convolutions
from components.params import Optimiser, Options

MARGIN = 24  # pixels: the receptive fields of attention (3) and fusion (15), rounded up to cells of 8
ATTENTION = (128, 32)  # table 1, before the convolution to k maps
FUSION = (128, 32, 8)  # table 1, before the convolution to one map


class Params(Options):
    """`blur_gain` and `attention_gain` bring what the nets see to order 1; 1 and none is the paper's reading."""

    beta: float = Field(1.0, ge=0)
    sigmas: tuple[float, ...] = Field((1, 2, 4, 8, 16), min_length=2, description="pixels")
    update_every: int = Field(1, ge=1, description="Ng of algorithm 2")
    blur_gain: float = Field(100.0, gt=0)
    attention_gain: float | None = Field(None, gt=0, description="none: the number of blurred maps")
    warm_up: int = Field(150, ge=0, description="steps alone towards the annotation map, before the counter starts")
    warm_up_lr: float = Field(1e-3, gt=0)
    initialisation: Initialisation = "he"
    optimiser: Optimiser = Optimiser(lr=1e-4)


PRESETS = {
    "paper": {
        "blur_gain": 1.0,
        "attention_gain": 1.0,
        "warm_up": 0,
        "initialisation": "default",
        "optimiser": {"kind": "adam", "lr": 1e-7},
    }
}


def build(params: Params, stride: int, scale: float) -> Generator:
    return Generator(params, stride, scale)


class Generator(DensityMap):
    """Dots in, maps (B, 1, h, w) out, in people per cell times `scale`."""

    def __init__(self, params: Params, stride: int, scale: float) -> None:
        super().__init__(params, stride, scale)
        if stride not in (4, 8):
            raise ValueError(f"density_map: the generator makes maps for counters of stride 4 or 8, not {stride}")
        self.attention = _attention(len(params.sigmas))
        self.fusion = _fusion(len(params.sigmas), pools=3 if stride == 8 else 2)
        initialise(self, params.initialisation)

    def forward(self, batch: Batch, windows: list[Window]) -> Tensor:
        """The maps of a batch at `windows`, (B, 1, h, w): those of the whole images, cut."""
        return run_wider(partial(self._run, batch), batch, windows, MARGIN, self.stride)

    def _run(self, batch: Batch, numbers: list[int], windows: list[Window]) -> Tensor:
        return self.fuse(torch.stack([self.blurred(batch, *pair) for pair in zip(numbers, windows, strict=True)]))

    def blurred(self, batch: Batch, number: int, window: Window) -> Tensor:
        """Equation (4) for one image, at one window: (k, H, W) people per pixel; every kernel weighs 1 in the image."""
        dots, size = batch.dots[number], batch.sizes[number]
        return torch.stack([draw(dots, sigma, size, side=1, window=window) for sigma in self.params.sigmas])

    def fuse(self, blurred: Tensor) -> Tensor:
        """Equations (5) and (6): (B, k, H, W) -> (B, 1, H / stride, W / stride)."""
        inputs = self.params.blur_gain * blurred
        gain = self.params.attention_gain or inputs.shape[1]
        return self.fusion(gain * self.attention(inputs) * inputs)

    def refinement_loss(self, maps: Tensor, batch: Batch, windows: list[Window]) -> Tensor:
        counts = annotation(batch, range(len(windows)), windows, self.stride).sum(dim=(1, 2, 3))
        return self.params.beta * global_count(maps / self.scale, counts)


def _attention(maps: int) -> nn.Sequential:
    """C(128,3)-C(32,3)-C(k,3)-Softmax."""
    last = nn.Conv2d(ATTENTION[-1], maps, 3, padding=1)
    return nn.Sequential(*relu_convolutions((maps, *ATTENTION)), last, nn.Softmax(dim=1))


def _fusion(maps: int, pools: int) -> nn.Sequential:
    """C(128,3)-P-C(32,3)-P-C(8,3)-P-C(1,3)-PReLU, with the first `pools` of its poolings."""
    parts: list[nn.Module] = []
    for number, (narrow, wide) in enumerate(zip((maps, *FUSION), FUSION, strict=False)):
        parts += relu_convolutions((narrow, wide))
        parts += [nn.AvgPool2d(2)] if number < pools else []
    return nn.Sequential(*parts, nn.Conv2d(FUSION[-1], 1, 3, padding=1), nn.PReLU())
