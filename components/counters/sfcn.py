"""SFCN: a pretrained backbone, CSRNet's back end, and an encoder that carries context across the image. Stride 8.

Wang, Gao, Lin, Yuan, "Learning from Synthetic Data for Crowd Counting in the Wild", CVPR 2019, with VGG-16 (16,337,345
parameters) or ResNet-101 (38,596,801). The authors' code ends with a ReLU, this one does not: with a final ReLU,
a counter that starts below 0 learns nothing."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator
from torch import Tensor, nn

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
    """`weights` of the backbone: "imagenet" (torchvision's), "hed" (an edge detector's VGG-16, in a package),
    "random", or a file in torchvision's layout; `initialisation` of the rest.

    The encoder's convolutions always start from N(0, 0.01), as the authors' do: with He's initialisation each step of a
    scan would add a term as large as the slice itself."""

    backbone: Literal["vgg16", "resnet101"] = "vgg16"
    weights: VGG16Weights = "imagenet"
    initialisation: Initialisation = "he"
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
        maps: Tensor = self.output(self.encoder(features))
        return maps


def _backbone(kind: str) -> tuple[nn.Module, int]:
    """The network, not yet pretrained, and its number of output features."""
    if kind == "resnet101":
        return ResNet101(), RESNET_FEATURES
    front_end = layers(FEATURES, 3)
    initialise(front_end, "he")
    return front_end, 512
