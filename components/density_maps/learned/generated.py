"""The generator of section 4: blurred dot maps, weighted by self-attention, fused into the map that the counter learns.

Equation (4): B_j = D * k_sigma_j. (5): A = F_a(B), a softmax over the k maps. (6): M = F_f(A x B).
Equation (7): ||f(X) - M||^2 + beta (1'M - 1'D)^2. Architectures: table 1. For a counter of stride 4 the last pooling of
F_f is dropped (the paper does not say). On a crop the count that M is held to is the annotation map's, which on a whole
image is the number of dots: dots cut off from their own kernels would reward the narrowest kernel.

The ablations of tables 4 and 5 are options: `refinement` and `kernels`, and `fusion`."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from components.config.options import Optimiser, Options
from components.crowd import Batch, DensityMap, Window
from components.density_maps.crops import annotation, photographs, regions, run_wider
from components.density_maps.gaussian import draw, weights_within
from components.density_maps.learned.shared import tiles
from components.density_maps.learned.shared.blur_kernels import LearnedKernels
from components.density_maps.learned.shared.fusion import MARGINS, NaiveFusion, attention, fusion
from components.errors import UserError
from components.losses.shared.global_count import global_count
from components.losses.shared.local_count import local_count
from components.networks import Initialisation, Precision, in_bf16, initialise

NOTHING = 1e-9  # people per pixel: a blurred map below this is zero, which for sigma 16 is beyond 83 px of a dot
TINY = 1e-6  # hard normalisation adds this to every cell: a map that is zero everywhere gets its people evenly


class Params(Options):
    """`beta` weighs people squared against a pixel loss in units of the target scale: the paper's 1, at scale 1, is
    1600 at scale 40. With 1 there the maps shrink towards the untrained counter; 100 holds them. `blur_gain` and
    `attention_gain` bring what the nets see to order 1; 1 and none is the paper's reading.

    `refinement`: equation (7)'s count of the whole map ("global"), or of each `patch` ("local"), weighted with beta;
    "hard_norm" has no second loss and scales the map to its count. `fusion`: "direct" is without attention.
    `precision`: of the convolutions on pixels; "auto" is bf16 where the processor multiplies in it, as "fp32" to
    rounding (in 8 bits), for two thirds of the time and twice the memory."""

    beta: float = Field(100.0, ge=0)
    refinement: Literal["global", "local", "hard_norm"] = "global"
    patch: int = Field(64, gt=0, multiple_of=8, description="pixels: side of the local loss's patches")
    sigmas: tuple[float, ...] = Field((1, 2, 4, 8, 16), min_length=2, description="pixels")
    kernels: Literal["fixed", "learned"] = "fixed"
    fusion: Literal["self_attention", "image_attention", "direct", "naive"] = "self_attention"
    precision: Precision = "auto"
    update_every: int = Field(1, ge=1, description="Ng of algorithm 2")
    blur_gain: float = Field(100.0, gt=0)
    attention_gain: float | None = Field(None, gt=0, description="none: the number of blurred maps")
    warm_up: int = Field(150, ge=0, description="steps alone towards the annotation map, before the counter starts")
    warm_up_lr: float = Field(1e-3, gt=0)
    initialisation: Initialisation = "he"
    optimiser: Optimiser = Optimiser(lr=1e-4)


PRESETS = {
    "paper": {
        "beta": 1.0,
        "blur_gain": 1.0,
        "attention_gain": 1.0,
        "warm_up": 0,
        "initialisation": "default",
        "precision": "fp32",
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
            raise UserError(f"density_map: the generator makes maps for counters of stride 4 or 8, not {stride}")
        maps, seen = len(params.sigmas), {"self_attention": len(params.sigmas), "image_attention": 3}
        self.kernels = LearnedKernels(params.sigmas, params.blur_gain) if params.kernels == "learned" else None
        self.attention = attention(seen[params.fusion], maps) if params.fusion in seen else None
        self.fusion = (
            NaiveFusion(stride, scale / params.blur_gain)
            if params.fusion == "naive"
            else fusion(maps, pools=3 if stride == 8 else 2)
        )
        initialise(self, params.initialisation)

    def forward(self, batch: Batch, windows: list[Window]) -> Tensor:
        """The maps of a batch at `windows`, (B, 1, h, w): those of the whole images, cut.

        Hard normalisation needs the sum of the whole map, and so makes all of it, whatever the window."""
        sides = [side for size in batch.sizes for side in size]
        margin = max(sides) if self.params.refinement == "hard_norm" else MARGINS[self.stride]
        return run_wider(partial(self._run, batch), batch, windows, margin, self.stride)

    def _run(self, batch: Batch, numbers: list[int], windows: list[Window]) -> Tensor:
        blurred = torch.stack([self.blurred(batch, *pair) for pair in zip(numbers, windows, strict=True)])
        looks = self.params.fusion == "image_attention"
        maps = self.fuse(blurred, photographs(batch, numbers, windows) if looks else None)
        if self.params.refinement != "hard_norm":
            return maps
        people = annotation(batch, numbers, windows, self.stride).sum(dim=(1, 2, 3))
        return normalised(maps, self.scale * people, regions(batch, numbers, windows, self.stride))

    def blurred(self, batch: Batch, number: int, window: Window) -> Tensor:
        """Equation (4) for one image, at one window: (k, H, W) people per pixel.

        Every fixed kernel weighs 1 in the image, or in its region of interest, to rounding: far from its dot it is
        zero."""
        dots, size = batch.dots[number], batch.sizes[number]
        if self.kernels is not None:
            return self.kernels(dots, size, window)
        region = batch.regions[number] if batch.regions else None
        drawn = torch.stack([self._blurred(dots, sigma, size, window, region) for sigma in self.params.sigmas])
        return functional.threshold(drawn, NOTHING, 0)

    def _blurred(
        self, dots: Tensor, sigma: float, size: tuple[int, int], window: Window, region: Tensor | None
    ) -> Tensor:
        weights = None if region is None else weights_within(dots, sigma, size, region, self.stride)
        return draw(dots, sigma, size, side=1, window=window, weights=weights)

    def fuse(self, blurred: Tensor, images: Tensor | None = None) -> Tensor:
        """Equations (5) and (6): (B, k, H, W) -> (B, 1, H / stride, W / stride).

        With `images` (B, 3, H, W) in -1..1 attention sees these, and not the blurred maps."""
        inputs = (self.params.blur_gain * blurred).contiguous(memory_format=torch.channels_last)
        if isinstance(self.fusion, NaiveFusion):
            return self.fusion(inputs)
        seen = inputs if images is None else images.contiguous(memory_format=torch.channels_last)
        gain, made = self.params.attention_gain or inputs.shape[1], []
        bf16 = in_bf16(self.params.precision, inputs.device)
        for one, looked in zip(inputs.split(1), seen.split(1), strict=True):
            weighted = one if self.attention is None else gain * tiles.attend(self.attention, looked, one, bf16=bf16)
            made.append(tiles.fuse(self.fusion, weighted, bf16=bf16))
        return torch.cat(made)

    def shares(self, blurred: Tensor) -> Tensor:
        """Equation (5) alone, self-attention to blurred maps (B, k, H, W): of this shape, and 1 in sum over k."""
        assert self.params.fusion == "self_attention"
        assert self.attention is not None
        return self.attention(self.params.blur_gain * blurred)

    def refinement_loss(self, maps: Tensor, batch: Batch, windows: list[Window]) -> Tensor:
        if self.params.refinement == "hard_norm":
            return super().refinement_loss(maps, batch, windows)
        drawn = annotation(batch, range(len(windows)), windows, self.stride)
        if self.params.refinement == "local":
            return self.params.beta * local_count(maps / self.scale, drawn, self.params.patch // self.stride)
        return self.params.beta * global_count(maps / self.scale, drawn.sum(dim=(1, 2, 3)))


def normalised(maps: Tensor, counts: Tensor, shares: Tensor | None = None) -> Tensor:
    """Hard normalisation, table 4: maps (B, 1, h, w), scaled so that each sums to its count (B,). With `shares` of
    cells, what these leave of it does.

    The networks may make cells below zero, and with them sums of zero or less, which no factor brings to the count.
    So magnitudes are scaled: a map without negative cells stays what it was, and every cell keeps its gradient."""
    magnitudes = maps.abs() + TINY
    inside = magnitudes if shares is None else magnitudes * shares
    return counts[:, None, None, None] * magnitudes / inside.sum(dim=(1, 2, 3), keepdim=True)
