"""VGG-16's first ten convolutions (Simonyan & Zisserman, 2015), which CSRNet and SFCN start from. Stride 8.

Weights come from a local file in torchvision's layout or from torchvision's public address, kept in torch's cache.
Without them the counter starts from its own initialisation, and says so."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

from components.crowd import OWN

FEATURES = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512)
ADDRESS = "https://download.pytorch.org/models/vgg16-397923af.pth"


def layers(features: tuple[int | str, ...], channels: int, dilation: int = 1) -> nn.Sequential:
    """3 x 3 convolutions that keep the size, each with a ReLU; "pool" halves it."""
    parts: list[nn.Module] = []
    for wide in features:
        if wide == "pool":
            parts.append(nn.MaxPool2d(2))
            continue
        parts += [nn.Conv2d(channels, int(wide), 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]
        channels = int(wide)
    return nn.Sequential(*parts)


def start_from(network: nn.Sequential, weights: str) -> str:
    """Load the ten convolutions into `network` and say what it starts from.

    `weights`: "public", "none", or a file in torchvision's layout. Raises ValueError where a named file is missing or
    does not hold VGG-16."""
    if weights == "none":
        return OWN
    state = _public() if weights == "public" else _file(Path(weights))
    if state is None:
        return f"{OWN} (VGG-16 weights could not be fetched)"
    _load(network, state, weights)
    return "VGG-16 (ImageNet)"


def _public() -> dict[str, Tensor] | None:
    try:
        return torch.hub.load_state_dict_from_url(ADDRESS, map_location="cpu", check_hash=True, weights_only=True)
    except (URLError, OSError, RuntimeError) as error:
        print(f"VGG-16 weights could not be fetched from {ADDRESS}: {error}; going on without them", file=sys.stderr)
        return None


def _file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ValueError(
            f'counter.weights: {path} is no file; give VGG-16 in torchvision\'s layout, "public" or "none"'
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"counter.weights: {path} cannot be read as weights: {error}") from None


def _load(network: nn.Sequential, state: dict[str, Tensor], where: str) -> None:
    wanted = {name: state.get(f"features.{name}") for name in network.state_dict()}
    missing = [f"features.{name}" for name, value in wanted.items() if value is None]
    if missing:
        raise ValueError(f"counter.weights: {where} does not hold VGG-16: {missing[0]} is missing")
    network.load_state_dict(wanted)
