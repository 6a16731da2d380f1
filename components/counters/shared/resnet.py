"""ResNet-101 up to its third stage, which keeps the size: the backbone of "SFCN (ResNet-101)". Stride 8.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, with torchvision's names, so that its
public weights load. Batch normalisation always uses its stored statistics: those of small batches of crops bias every
count. Without pretrained weights these are 0 and 1, so the last scale of each block starts at 1 / sqrt(blocks):
the sum over all blocks then keeps its size (after Zhang, Dauphin, Ma, "Fixup Initialization", ICLR 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.counters.shared.weights import Published
from components.networks import initialise

RESNET101 = Published("ResNet-101", "https://download.pytorch.org/models/resnet101-63fe2227.pth")
STAGES = ((64, 3, 1), (128, 4, 2), (256, 23, 1))  # narrow features, number of blocks, stride of the first block
WIDENING = 4
FEATURES = STAGES[-1][0] * WIDENING


class FrozenBatchNorm(nn.Module):
    """Batch normalisation with stored mean and variance; scale and shift are learned."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, features: Tensor) -> Tensor:
        return functional.batch_norm(features, self.running_mean, self.running_var, self.weight, self.bias)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1, added to the input or, where size or channels change, to a projection of it."""

    def __init__(self, channels: int, narrow: int, stride: int) -> None:
        super().__init__()
        wide = WIDENING * narrow
        self.conv1, self.bn1 = nn.Conv2d(channels, narrow, 1, bias=False), FrozenBatchNorm(narrow)
        self.conv2, self.bn2 = nn.Conv2d(narrow, narrow, 3, stride, 1, bias=False), FrozenBatchNorm(narrow)
        self.conv3, self.bn3 = nn.Conv2d(narrow, wide, 1, bias=False), FrozenBatchNorm(wide)
        self.downsample = _projection(channels, wide, stride) if stride > 1 or channels != wide else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.bn1(self.conv1(features)).relu()
        hidden = self.bn2(self.conv2(hidden)).relu()
        output: Tensor = self.bn3(self.conv3(hidden)) + self.downsample(features)
        return output.relu()


class ResNet101(nn.Module):
    """(B, 3, H, W) -> (B, 1024, ceil(H/8), ceil(W/8))."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), FrozenBatchNorm(64)
        self.layer1 = _stage(64, *STAGES[0])
        self.layer2 = _stage(64 * WIDENING, *STAGES[1])
        self.layer3 = _stage(128 * WIDENING, *STAGES[2])
        initialise(self, "he")
        _keep_size(self)

    def forward(self, images: Tensor) -> Tensor:
        features = functional.max_pool2d(self.bn1(self.conv1(images)).relu(), 3, stride=2, padding=1)
        output: Tensor = self.layer3(self.layer2(self.layer1(features)))
        return output


def _stage(channels: int, narrow: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(channels, narrow, stride)
    return nn.Sequential(first, *(Bottleneck(WIDENING * narrow, narrow, 1) for _ in range(blocks - 1)))


def _projection(channels: int, wide: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, wide, 1, stride, bias=False), FrozenBatchNorm(wide))


def _keep_size(network: nn.Module) -> None:
    blocks = [module for module in network.modules() if isinstance(module, Bottleneck)]
    for block in blocks:
        nn.init.constant_(block.bn3.weight, len(blocks) ** -0.5)
