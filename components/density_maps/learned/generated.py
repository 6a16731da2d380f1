"""The generator of section 4: blurred dot maps, weighted by self-attention and fused into the counter's target.

Equation (4): B_j = D * k_sigma_j. (5): A = F_a(B), a softmax over the k maps. (6): M = F_f(A x B).
Equation (7): ||f(X) - M||^2 + beta (1'M - 1'D)^2. Architectures: table 1. For a counter of stride 4 the last pooling of
F_f is dropped (the paper does not say). On a crop the target count is the sum of the annotation map, which for a
whole image is the number of dots: counting the crop's dots instead, whose kernels reach out of it, would favour the
narrowest kernel.

The ablations of tables 4 and 5 are options: `refinement`, `kernels` and `fusion`. The paper blurs and attends on
pixels, which costs more than a light counter itself; `resolution` does so on coarser cells, where Gaussians are still
integrated exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor
from torch.nn import functional

from components.config.options import Optimiser, Options
from components.crowd import Crop, DensityMap
from components.density_maps.crops import annotation_maps, apply_with_margin, image_patches, region_masks
from components.density_maps.gaussian import draw, weights_within
from components.density_maps.learned.shared import tiles
from components.density_maps.learned.shared.blur_kernels import LearnedKernels
from components.density_maps.learned.shared.fusion import NaiveFusion, attention, fusion, margin
from components.errors import UserError
from components.losses.shared.global_count import global_count
from components.losses.shared.local_count import local_count
from components.networks import Initialisation, Precision, in_bf16, initialise

NEGLIGIBLE = 1e-9  # people per pixel: a blurred map below this is set to 0; for sigma 16, from 83 px of a dot on
EPSILON = 1e-6  # hard normalisation adds this to every cell: a map of zeros gets its people spread evenly


class Params(Options):
    """`beta` weights squared people against a counting loss in units of the target scale: the paper's 1, at scale 1,
    is 1600 at scale 40. With 1 at scale 40 the maps shrink towards the untrained counter; 100 prevents it. `blur_gain`
    and `attention_gain` bring the inputs of the networks to order 1; the paper's preset sets both to 1.

    `refinement`: the squared error of the whole map's count as in equation (7) ("global"), or of the count in each
    `patch` ("local"), weighted with beta; "hard_norm" has no second loss and scales the map to its count. `fusion`:
    "direct" has no attention. `resolution`: blurred maps and attention on "pixels" as in the paper, on cells of 2 x 2
    pixels ("half"), or on the counter's own cells ("grid"), with fewer poolings in the fusion; bandwidths stay in
    pixels, and a blurred map sums to the number of people. `precision` of the convolutions: "auto" is bf16 on
    processors that multiply in it. Then maps are those of "fp32" up to rounding to 8 bits, in two thirds of the time
    and twice the memory."""

    beta: float = Field(100.0, ge=0, description="weight of the second loss, of equation (7)")
    refinement: Literal["global", "local", "hard_norm"] = Field(
        "global", description="the second loss: of the whole count, of counts in patches, or none and an exact sum"
    )
    patch: int = Field(64, gt=0, multiple_of=8, description="pixels: side of the local loss's patches")
    sigmas: tuple[PositiveFloat, ...] = Field((1, 2, 4, 8, 16), min_length=2, description="pixels")
    kernels: Literal["fixed", "learned"] = Field("fixed", description="whether the blurs of the dots learn")
    fusion: Literal["self_attention", "image_attention", "direct", "naive"] = Field(
        "self_attention",
        description="of the blurred maps; direct: without attention; naive: their mean, nothing is learned",
    )
    resolution: Literal["pixels", "half", "grid"] = Field(
        "pixels", description="of blurred maps; half: cells of 2 x 2 pixels, grid: the counter's cells"
    )
    precision: Precision = Field("auto", description="of the convolutions; auto: bf16 if the processor has it")
    update_every: int = Field(1, ge=1, description="Ng of algorithm 2: the map learns in every n-th epoch")
    blur_gain: float = Field(100.0, gt=0, description="the blurred maps are multiplied by this")
    attention_gain: float | None = Field(None, gt=0, description="none: the number of blurred maps")
    warm_up: int = Field(150, ge=0, description="steps alone towards the annotation map, before the counter starts")
    warm_up_lr: float = Field(1e-3, gt=0, description="learning rate of these steps")
    initialisation: Initialisation = Field("he", description="of the weights; normal: N(0, 0.01), default: PyTorch's")
    optimiser: Optimiser = Optimiser(lr=1e-4)

    @model_validator(mode="after")
    def _kernels_on_pixels(self) -> Params:
        if self.kernels == "learned" and self.resolution != "pixels":
            raise UserError(
                f"resolution: learned kernels blur a dot map on pixels, not {self.resolution}; write pixels, or choose "
                "kernels: fixed"
            )
        return self


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
    """Makes maps of dots, and with image attention of the image too."""

    def __init__(self, params: Params, stride: int, scale: float) -> None:
        super().__init__(params, stride, scale)
        if stride not in (4, 8):
            raise UserError(f"density_map: the generator makes maps for counters of stride 4 or 8, not {stride}")
        self.cell = {"pixels": 1, "half": 2, "grid": stride}[params.resolution]  # side in pixels, of blurred maps
        self.margin, maps = margin(stride, self.cell), len(params.sigmas)
        channels = {"self_attention": maps, "image_attention": 3}  # that the attention sees
        self.kernels = LearnedKernels(params.sigmas, params.blur_gain) if params.kernels == "learned" else None
        self.attention = attention(channels[params.fusion], maps) if params.fusion in channels else None
        self.fusion = (
            NaiveFusion(stride, self.cell, scale / params.blur_gain)
            if params.fusion == "naive"
            else fusion(maps, pools=(stride // self.cell).bit_length() - 1)
        )
        initialise(self, params.initialisation)

    def forward(self, crops: Sequence[Crop]) -> Tensor:
        """The maps of crops, (B, 1, h, w) people per cell times `scale`: each equals the whole image's map, cut.

        Hard normalisation needs the sum over the whole image, so it always makes the whole map."""
        sides = [side for crop in crops for side in crop.size]
        reach = max(sides) if self.params.refinement == "hard_norm" else self.margin
        return apply_with_margin(self._run, crops, reach, self.stride)

    def _run(self, crops: Sequence[Crop]) -> Tensor:
        blurred = torch.stack([self.blurred(crop) for crop in crops])
        maps = self.fuse(blurred, image_patches(crops) if self.params.fusion == "image_attention" else None)
        if self.params.refinement != "hard_norm":
            return maps
        people = annotation_maps(crops, self.stride).sum(dim=(1, 2, 3))
        return hard_normalised(maps, self.scale * people, region_masks(crops, self.stride))

    def blurred(self, crop: Crop) -> Tensor:
        """Equation (4) for one crop: (k, H / cell, W / cell) people per cell of `cell` pixels.

        Every fixed kernel has mass 1 inside the image, or inside its region of interest, up to rounding: far from its
        dot it is set to zero."""
        if self.kernels is not None:
            maps: Tensor = self.kernels(crop.dots, crop.size, crop.window)
            return maps
        drawn = torch.stack([self._blurred(crop, sigma) for sigma in self.params.sigmas])
        return functional.threshold(drawn, NEGLIGIBLE * self.cell**2, 0)

    def _blurred(self, crop: Crop, sigma: float) -> Tensor:
        weights = None
        if crop.region is not None:
            weights = weights_within(crop.dots, sigma, crop.size, crop.region, self.stride)
        return draw(crop.dots, sigma, crop.size, side=self.cell, window=crop.window, weights=weights)

    def fuse(self, blurred: Tensor, images: Tensor | None = None) -> Tensor:
        """Equations (5) and (6): (B, k, H / cell, W / cell) -> (B, 1, H / stride, W / stride).

        With `images` (B, 3, H, W) in -1..1 the attention sees the images, on the same cells, instead of the blurred
        maps."""
        inputs = self._inputs(blurred).contiguous(memory_format=torch.channels_last)
        if isinstance(self.fusion, NaiveFusion):
            naive: Tensor = self.fusion(inputs)
            return naive
        guides = inputs
        if images is not None:
            guides = functional.avg_pool2d(images, self.cell).contiguous(memory_format=torch.channels_last)
        gain, bf16 = self.params.attention_gain or inputs.shape[1], in_bf16(self.params.precision, inputs.device)
        maps = []
        for one, guide in zip(inputs.split(1), guides.split(1), strict=True):
            weighted = one if self.attention is None else gain * tiles.attend(self.attention, guide, one, bf16=bf16)
            maps.append(tiles.fuse(self.fusion, weighted, bf16=bf16))
        return torch.cat(maps)

    def _inputs(self, blurred: Tensor) -> Tensor:
        """What the networks see of blurred maps: their mean in people per pixel, times `blur_gain`."""
        inputs: Tensor = self.params.blur_gain / self.cell**2 * blurred
        return inputs

    def shares(self, blurred: Tensor) -> Tensor:
        """Equation (5) alone: the self-attention of blurred maps (B, k, h, w), of the same shape, with sum 1 over k."""
        assert self.params.fusion == "self_attention"
        assert self.attention is not None
        weights: Tensor = self.attention(self._inputs(blurred))
        return weights

    def refinement_loss(self, maps: Tensor, crops: Sequence[Crop]) -> Tensor:
        """beta times the squared error of counts of each crop, (B,), of the whole crop or of its patches."""
        if self.params.refinement == "hard_norm":
            return super().refinement_loss(maps, crops)
        annotations, beta = annotation_maps(crops, self.stride), float(self.params.beta)
        if self.params.refinement == "local":
            return beta * local_count(maps / self.scale, annotations, self.params.patch // self.stride)
        return beta * global_count(maps / self.scale, annotations.sum(dim=(1, 2, 3)))


def hard_normalised(maps: Tensor, counts: Tensor, masks: Tensor | None = None) -> Tensor:
    """Hard normalisation, table 4: maps (B, 1, h, w), scaled so that each sums to its count (B,). With `masks`, the
    shares of cells that lie in a region of interest, each map times its mask does.

    The networks may make cells below zero, and so maps whose sum is zero or less, which no factor brings to the count.
    So the magnitudes are scaled: a map without negative cells keeps its shape, and every cell keeps its gradient."""
    magnitudes = maps.abs() + EPSILON
    masked = magnitudes if masks is None else magnitudes * masks
    return counts[:, None, None, None] * magnitudes / masked.sum(dim=(1, 2, 3), keepdim=True)
