"""From images (B, 3, H, W), RGB in 0..1, to the input of a counter's first convolution."""

from __future__ import annotations

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's mode "L"


def standardise(images: Tensor) -> Tensor:
    """Subtract ImageNet's mean and divide by its standard deviation, channel by channel."""
    mean, std = (
        torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return (images - mean) / std


def grey(images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W): luma in 0..1."""
    return (images * torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
