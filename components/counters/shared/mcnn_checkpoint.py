"""Checkpoints of MCNN as public repositories publish them, by a table of names.

| theirs, of column c = 1, 2, 3     | ours                                |
|-----------------------------------|-------------------------------------|
| `branch{c}.0.conv.{weight,bias}`  | `columns.{c - 1}.0.{weight,bias}`   |
| `branch{c}.2.conv.{weight,bias}`  | `columns.{c - 1}.3.{weight,bias}`   |
| `branch{c}.4.conv.{weight,bias}`  | `columns.{c - 1}.6.{weight,bias}`   |
| `branch{c}.5.conv.{weight,bias}`  | `columns.{c - 1}.8.{weight,bias}`   |
| `fuse.0.conv.{weight,bias}`       | `fuse.{weight,bias}`                |

Their numbers count convolutions and poolings (a ReLU belongs to its convolution), ours count the ReLUs too. Their names
may have any prefix: `DME.`, `module.`, `CCN.module.`. A file is HDF5 (.h5, .hdf5) or was saved by torch."""

from __future__ import annotations

from pathlib import Path

import h5py
import torch
from torch import Tensor, nn

from components.counters.shared.weights import pick, read
from components.errors import UserError

POSITIONS = {0: 0, 2: 3, 4: 6, 5: 8}  # of the convolutions of a column: theirs, ours
HDF5 = (".h5", ".hdf5")
CONVOLUTIONS = {
    f"columns.{column}.{ours}": f"branch{column + 1}.{theirs}.conv"
    for column in range(3)
    for theirs, ours in POSITIONS.items()
} | {"fuse": "fuse.0.conv"}
NAMES = {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in CONVOLUTIONS.items() for kind in ("weight", "bias")}


def load_checkpoint(network: nn.Module, path: Path) -> str:
    """Load an MCNN from `path`; return a few words on what it starts from.

    Raises UserError where the file is missing, holds no MCNN, or one of another number of input channels."""
    state = _hdf5(path) if path.suffix in HDF5 else read(path, "a checkpoint of MCNN, .h5 or .pth")
    tensors = pick({_bare(name): value for name, value in state.items()}, NAMES, str(path), "MCNN")
    for name, value in network.state_dict().items():
        if value.shape != tensors[name].shape:
            raise UserError(
                f"counter.weights: {path}: {NAMES[name]} has shape {tuple(tensors[name].shape)}, not "
                f"{tuple(value.shape)}; counter.channels must be the number of input channels of the checkpoint"
            )
    network.load_state_dict(tensors)
    return f"MCNN ({path.name})"


def _hdf5(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"counter.weights: {path} is not a file; give a checkpoint of MCNN, .h5 or .pth")
    try:
        with h5py.File(path) as file:
            return {name: torch.from_numpy(values[...]) for name, values in file.items()}
    except (OSError, TypeError, AttributeError) as error:
        raise UserError(f"counter.weights: {path} cannot be read as HDF5 arrays: {error}") from None


def _bare(name: str) -> str:
    """A name without the prefix before `branch` or `fuse`."""
    starts = [name.find(part) for part in ("branch", "fuse") if part in name]
    return name[min(starts) :] if starts else name
