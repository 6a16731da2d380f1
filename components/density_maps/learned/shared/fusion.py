"""The generator's networks of table 1, and their replacements in the ablations of table 5.

The input of the attention is the blurred maps (self-attention) or the image (image attention). Fusion is a network, or
naive: the mean of the blurred maps, in which nothing is learned."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from components.networks import relu_convolutions

MARGINS = {4: 16, 8: 24}  # pixels, by stride: the reach of attention (3) and fusion (11 or 15), in whole cells of 8
ATTENTION = (128, 32)  # table 1, before the convolution to k maps
FUSION = (128, 32, 8)  # table 1, before the convolution to one map


def attention(channels: int, maps: int) -> nn.Sequential:
    """C(128,3)-C(32,3)-C(k,3)-Softmax, with `channels` input channels and k = `maps`."""
    last = nn.Conv2d(ATTENTION[-1], maps, 3, padding=1)
    return nn.Sequential(*relu_convolutions((channels, *ATTENTION)), last, nn.Softmax(dim=1))


def fusion(maps: int, pools: int) -> nn.Sequential:
    """C(128,3)-P-C(32,3)-P-C(8,3)-P-C(1,3)-PReLU, with the first `pools` of its poolings and `maps` input channels."""
    parts: list[nn.Module] = []
    for index, (narrow, wide) in enumerate(pairwise((maps, *FUSION))):
        parts += relu_convolutions((narrow, wide))
        parts += [nn.AvgPool2d(2)] if index < pools else []
    return nn.Sequential(*parts, nn.Conv2d(FUSION[-1], 1, 3, padding=1), nn.PReLU())


class NaiveFusion(nn.Module):
    """The mean of the k blurred maps, so that a person counts 1, summed over cells of `stride` pixels."""

    def __init__(self, stride: int, gain: float) -> None:
        super().__init__()
        self.stride, self.gain = stride, gain

    def forward(self, blurred: Tensor) -> Tensor:
        """(B, k, H, W) per pixel -> (B, 1, H / stride, W / stride) per cell, times `gain`."""
        means = functional.avg_pool2d(blurred.mean(dim=1, keepdim=True), self.stride)
        return self.gain * self.stride**2 * means
