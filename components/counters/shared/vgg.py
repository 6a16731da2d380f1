"""VGG-16's first ten convolutions (Simonyan & Zisserman, 2015), the front end of CSRNet and SFCN. Stride 8."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import nn

from components.counters.shared.hed import load_hed
from components.counters.shared.weights import Published, load_backbone

VGG16Weights = Literal["imagenet", "hed", "random"] | Path

FEATURES = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512)
VGG16 = Published("VGG-16", "https://download.pytorch.org/models/vgg16-397923af.pth", prefix="features.")


def layers(features: tuple[int | str, ...], channels: int, dilation: int = 1) -> nn.Sequential:
    """3 x 3 convolutions that keep the size, each followed by a ReLU; "pool" halves the size."""
    parts: list[nn.Module] = []
    for wide in features:
        if wide == "pool":
            parts.append(nn.MaxPool2d(2))
            continue
        parts += [nn.Conv2d(channels, int(wide), 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]
        channels = int(wide)
    return nn.Sequential(*parts)


def load_vgg16(front_end: nn.Module, weights: VGG16Weights) -> str:
    """Load pretrained weights into the ten convolutions; return a few words on what they start from.

    `weights`: "hed", those of an edge detector (`hed.py`); or as `load_backbone` takes them. Raises UserError where
    they cannot be had."""
    return load_hed(front_end) if weights == "hed" else load_backbone(front_end, weights, VGG16)
