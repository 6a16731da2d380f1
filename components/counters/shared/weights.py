"""Weights that a counter starts from: torchvision's public address, kept in torch's cache, or a local file.

Without them the counter starts from its own initialisation, and says so."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

import torch
from torch import Tensor, nn

from components.crowd import OWN
from components.errors import UserError


class Published(NamedTuple):
    """A network whose weights are published in torchvision's layout."""

    name: str  # as people say it
    address: str
    prefix: str = ""  # what stands before our names in the file


def start_from(network: nn.Module, weights: str, published: Published) -> str:
    """Load `network` and say what it starts from.

    `weights`: "public", "none", or a file in torchvision's layout. Raises UserError where a named file is missing or
    does not hold the network."""
    if weights == "none":
        return OWN
    expected = f'{published.name} in torchvision\'s layout, "public" or "none"'
    state = fetch(published) if weights == "public" else read(Path(weights), expected)
    if state is None:
        return f"{OWN} ({published.name} weights could not be fetched)"
    names = {name: published.prefix + name for name in network.state_dict()}
    network.load_state_dict(pick(state, names, weights, published.name))
    return f"{published.name} (ImageNet)"


def fetch(published: Published) -> dict[str, Tensor] | None:
    """The weights at the public address, or None and a line on stderr where they cannot be had."""
    try:
        return torch.hub.load_state_dict_from_url(
            published.address, map_location="cpu", check_hash=True, weights_only=True
        )
    except (URLError, OSError, RuntimeError) as error:
        print(
            f"{published.name} weights could not be fetched from {published.address}: {error}; going on without them",
            file=sys.stderr,
        )
        return None


def read(path: Path, expected: str) -> dict[str, Tensor]:
    """The tensors of a file that torch saved. Raises UserError where it is missing or holds anything else."""
    if not path.is_file():
        raise UserError(f"counter.weights: {path} is no file; give {expected}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in torch with errors of any type
        raise UserError(f"counter.weights: {path} cannot be read as weights: {error}") from None
    if not isinstance(state, dict):
        raise UserError(f"counter.weights: {path} holds a {type(state).__name__}; give {expected}")
    return state


def pick(state: dict[str, Tensor], names: dict[str, str], where: str, network: str) -> dict[str, Tensor]:
    """Tensors by our names; `names` gives the file's. Raises UserError where one is missing."""
    missing = [theirs for theirs in names.values() if theirs not in state]
    if missing:
        raise UserError(f"counter.weights: {where} does not hold {network}: {missing[0]} is missing")
    return {ours: state[theirs] for ours, theirs in names.items()}
