"""SFCN: a pretrained backbone, CSRNet's back end, and an encoder that carries context across the image. Stride 8.

Wang, Gao, Lin, Yuan, "Learning from Synthetic Data for Crowd Counting in the Wild", CVPR 2019, with VGG-16 (16,337,345
parameters) or ResNet-101 (38,596,801). The authors' code ends with a ReLU, this one does not: with a final ReLU,
a counter that starts below 0 learns nothing."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.nn import functional

from components.config.options import Optimiser, Options
from components.counters.shared.preprocessing import standardise
from components.counters.shared.resnet import FEATURES as RESNET_FEATURES
from components.counters.shared.resnet import RESNET101, ResNet101
from components.counters.shared.spatial_encoder import CHANNELS, SpatialEncoder
from components.counters.shared.vgg import FEATURES, VGG16Weights, layers, load_vgg16
from components.counters.shared.weights import load_backbone
from components.crowd import Counter, pad_to
from components.errors import UserError
from components.networks import Initialisation, initialise

BACK_END = (512, 512, 512, 256, 128, CHANNELS)


class Params(Options):
    """`weights`: "imagenet" (torchvision's), "hed" (an edge detector's VGG-16, in a package), "random", or a file in
    torchvision's layout.

    The encoder's convolutions always start from N(0, 0.01), as the authors' do: with He's initialisation each step of a
    scan would add a term as large as the slice itself."""

    backbone: Literal["vgg16", "resnet101"] = Field("vgg16", description="the layers before the dilated ones")
    weights: VGG16Weights = Field("imagenet", description="what the backbone starts from")
    initialisation: Initialisation = Field("he", description="of the rest; normal: N(0, 0.01), default: PyTorch's")
    optimiser: Optimiser = Optimiser(lr=1e-5)

    @model_validator(mode="after")
    def _hed_is_a_vgg16(self) -> Params:
        if self.weights == "hed" and self.backbone != "vgg16":
            raise UserError(f"weights: hed is a vgg16, not a {self.backbone}; give imagenet, random or a file")
        return self


PRESETS = {"paper": {"initialisation": "normal"}}


def build(params: Params, channels: int = 1) -> SFCN:
    return SFCN(params, channels)


class SFCN(Counter):
    stride = 8

    def __init__(self, params: Params, channels: int) -> None:
        super().__init__()
        self.params = params
        self.front_end, features = _backbone(params.backbone)
        self.back_end = layers(BACK_END, features, dilation=2)
        self.encoder = SpatialEncoder()
        self.output = nn.Conv2d(CHANNELS, channels, 1)
        initialise(self.back_end, params.initialisation)
        initialise(self.encoder, "normal")
        initialise(self.output, params.initialisation)

    def load_pretrained(self) -> str:
        weights = self.params.weights
        if self.params.backbone == "vgg16":
            return load_vgg16(self.front_end, weights)
        assert weights != "hed"  # Params refuses it
        return load_backbone(self.front_end, weights, RESNET101)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> (B, channels, ceil(H/8), ceil(W/8))."""
        features = self.back_end(self.front_end(pad_to(standardise(images), self.stride)))
        exporting = torch.compiler.is_exporting()
        encoded = exportable_encoder(self.encoder, features) if exporting else self.encoder(features)
        maps: Tensor = self.output(encoded)
        return maps


def exportable_encoder(encoder: SpatialEncoder, features: Tensor) -> Tensor:
    """What the encoder computes, (B, 64, H, W) -> (B, 64, H, W), as scans that an exported program keeps as such.

    The encoder's own loops over the slices would be unrolled for the size of the traced image, and no other."""
    rows = _scan_both_ways(features.permute(2, 0, 1, 3), encoder.along_rows.weight.squeeze(2), encoder.along_rows.bias)
    slices = rows.permute(3, 1, 2, 0)  # (W, B, C, H)
    columns = _scan_both_ways(slices, encoder.along_columns.weight.squeeze(3), encoder.along_columns.bias)
    return columns.permute(1, 2, 3, 0)


def _scan_both_ways(slices: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(N, B, C, L): slice i becomes slice i + ReLU(conv(slice i - 1)), from the first to the last and back."""
    numbers = torch.arange(slices.shape[0], device=slices.device)
    follows = (numbers > 0).to(slices.dtype)[:, None, None, None]  # 0 at the first slice, which has none before it

    def step(before: Tensor, current: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        state, has_before = current
        message = functional.conv1d(before, weight, bias, padding=weight.shape[2] // 2).relu()
        state = state + has_before * message
        return state, state.clone()

    for _ in range(2):
        _, states = scan(step, slices.new_zeros(slices.shape[1:]), (slices.contiguous(), follows))
        slices = states.flip(0)
    return slices


def _backbone(kind: str) -> tuple[nn.Module, int]:
    """The network, not yet pretrained, and its number of output features."""
    if kind == "resnet101":
        return ResNet101(), RESNET_FEATURES
    front_end = layers(FEATURES, 3)
    initialise(front_end, "he")
    return front_end, 512
