"""The generator's networks of table 1, and their replacements in the ablations of table 5.

The input of the attention is the blurred maps (self-attention) or the image (image attention). Fusion is a network, or
naive: the mean of the blurred maps, in which nothing is learned. The blurred maps lie on pixels, as in the paper, or on
cells of a few pixels: the fewer of the poolings are then needed to come to the counter's grid."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from components.crowd import cell_count
from components.networks import relu_convolutions

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


def margin(stride: int, cell: int) -> int:
    """How far a map on cells of `stride` pixels depends on blurred maps on cells of `cell` pixels: in pixels, rounded
    up to whole cells of the map. It is the reach of the convolutions of attention and fusion; each of the fusion's is
    followed by a pooling, until cells have `stride` pixels."""
    attention_reach = (len(ATTENTION) + 1) * cell
    fusion_reach = sum(min(cell * 2**index, stride) for index in range(len(FUSION) + 1))
    return stride * cell_count(attention_reach + fusion_reach, stride)


class NaiveFusion(nn.Module):
    """The mean of the k blurred maps on cells of `cell` pixels, so that a person counts 1, summed over cells of
    `stride` pixels."""

    def __init__(self, stride: int, cell: int, gain: float) -> None:
        super().__init__()
        self.stride, self.cell, self.gain = stride, cell, gain

    def forward(self, blurred: Tensor) -> Tensor:
        """(B, k, H, W), mean per pixel -> (B, 1, H x cell / stride, W x cell / stride) per cell, times `gain`."""
        means = functional.avg_pool2d(blurred.mean(dim=1, keepdim=True), self.stride // self.cell)
        return self.gain * self.stride**2 * means
