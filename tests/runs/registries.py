"""Registries with counters in them."""

from __future__ import annotations

from pathlib import Path

from components.runs.folder import read_weights, write_weights
from components.runs.registry import Registry

CARD = "# A counter\n"


def variant(weights: Path, folder: Path, name: str) -> Path:
    """Another counter: the same one, with another bias."""
    source = read_weights(weights)
    tensors = source.tensors | {"counter.fuse.bias": source.tensors["counter.fuse.bias"] + len(name)}
    write_weights(folder / f"{name}.safetensors", tensors, source.metadata | {"experiment": name})
    return folder / f"{name}.safetensors"


def filled(address: str, weights: Path, folder: Path, names: str = "ab") -> tuple[Registry, list[str]]:
    """A registry with these counters, none of them deployed, and their hashes."""
    registry = Registry(address)
    return registry, [registry.add(variant(weights, folder, name * place), CARD) for place, name in enumerate(names, 1)]
