"""CSRNet: VGG-16's first ten convolutions, then six dilated ones that see far without pooling. Stride 8.

Li, Zhang, Chen, "CSRNet: Dilated Convolutional Neural Networks for Understanding the Highly Congested Scenes",
CVPR 2018. 16,263,489 parameters; no final ReLU. The learning rate of `paper` is the one of Wan & Chan (2019)."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from components.config.options import Optimiser, Options
from components.counters.shared.preprocessing import standardise
from components.counters.shared.vgg import FEATURES, VGG16Weights, layers, load_vgg16
from components.crowd import Counter, pad_to
from components.networks import Initialisation, initialise

BACK_END = (512, 512, 512, 256, 128, 64)


class Params(Options):
    """`weights`: "imagenet" (torchvision's), "hed" (an edge detector's, in a package), "random", or a file in
    torchvision's layout."""

    weights: VGG16Weights = Field("imagenet", description="what the front end starts from")
    initialisation: Initialisation = Field("he", description="of the rest; normal: N(0, 0.01), default: PyTorch's")
    optimiser: Optimiser = Optimiser(lr=1e-5)


PRESETS = {
    "paper": {
        "initialisation": "normal",
        "optimiser": {"kind": "sgd", "lr": 5e-7, "momentum": 0.95, "weight_decay": 5e-4},
    }
}


def build(params: Params, channels: int = 1) -> CSRNet:
    return CSRNet(params, channels)


class CSRNet(Counter):
    stride = 8

    def __init__(self, params: Params, channels: int) -> None:
        super().__init__()
        self.params = params
        self.front_end = layers(FEATURES, 3)
        self.back_end = layers(BACK_END, 512, dilation=2)
        self.output = nn.Conv2d(BACK_END[-1], channels, 1)
        initialise(self.front_end, "he")
        initialise(self.back_end, params.initialisation)
        initialise(self.output, params.initialisation)

    def load_pretrained(self) -> str:
        return load_vgg16(self.front_end, self.params.weights)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> (B, channels, ceil(H/8), ceil(W/8))."""
        maps: Tensor = self.output(self.back_end(self.front_end(pad_to(standardise(images), self.stride))))
        return maps
