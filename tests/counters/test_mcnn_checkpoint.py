"""Checkpoints of MCNN as others publish them: their names, their files, and what a real one counts."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from components.config import plugins
from components.config.options import Choice
from components.counters.mcnn import MCNN
from components.datasets.shanghaitech import Params, build
from components.errors import UserError

THEIRS = [f"branch{column}.{number}.conv" for column in (1, 2, 3) for number in (0, 2, 4, 5)] + ["fuse.0.conv"]


def mcnn(**options: object) -> MCNN:
    choice = Choice(kind="mcnn", **({"channels": 1, "pixels": "bytes"} | options))
    return plugins.build("counter", "mcnn", plugins.resolve("counter", choice, "test"))


def published(network: MCNN, prefix: str) -> dict[str, Tensor]:
    """A network's weights under their names: its convolutions, in the order of the layers."""
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    pairs = zip(THEIRS, convolutions, strict=True)
    return {
        f"{prefix}{name}.{kind}": getattr(layer, kind).detach() for name, layer in pairs for kind in ("weight", "bias")
    }


def write(state: dict[str, Tensor], path: Path) -> Path:
    if path.suffix == ".pth":
        torch.save(state, path)
        return path
    with h5py.File(path, "w") as file:
        for name, value in state.items():
            file[name] = value.numpy()
    return path


@pytest.mark.parametrize("prefix", ["", "DME.", "module.DME.", "CCN.module."])
@pytest.mark.parametrize("suffix", [".pth", ".h5", ".hdf5"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_checkpoint_loads_from_both_kinds_of_file(tmp_path: Path, prefix: str, suffix: str, channels: int) -> None:
    source, image = mcnn(channels=channels), torch.rand(1, 3, 20, 24)
    path = write(published(source, prefix), tmp_path / f"mcnn{suffix}")
    network = mcnn(channels=channels, weights=str(path))
    assert network.load_pretrained() == f"MCNN (mcnn{suffix})"
    assert torch.equal(network(image), source(image))


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    state = published(mcnn(), "DME.")
    del state["DME.branch2.4.conv.bias"]
    with pytest.raises(ValueError, match=r"counter\.weights: .*mcnn\.h5 does not hold MCNN: branch2\.4\.conv\.bias"):
        mcnn(weights=str(write(state, tmp_path / "mcnn.h5"))).load_pretrained()


def test_another_number_of_channels_is_named(tmp_path: Path) -> None:
    path = write(published(mcnn(), "DME."), tmp_path / "mcnn.h5")
    with pytest.raises(ValueError, match=r"branch1\.0\.conv\.weight has shape \(16, 1, 9, 9\).*counter\.channels"):
        mcnn(channels=3, weights=str(path)).load_pretrained()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "mcnn.h5"}, r"counter\.weights: mcnn\.h5 .*one output, and the loss reads 9; leave weights out"),
        ({"final_relu": True}, r"counter\.final_relu: must be false with a loss that reads 9 outputs"),
    ],
)
def test_what_fits_one_output_alone_is_refused_with_several(options: dict, message: str) -> None:
    resolved = plugins.resolve("counter", Choice(kind="mcnn", **options), "test")
    with pytest.raises(UserError, match=message):
        plugins.build("counter", "mcnn", resolved, channels=9)


@pytest.mark.parametrize("suffix", [".h5", ".pth"])
@pytest.mark.parametrize("content", [None, b"not weights"])
def test_bad_files_are_named(tmp_path: Path, suffix: str, content: bytes | None) -> None:
    path = tmp_path / f"mcnn{suffix}"
    if content:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"counter\.weights: .*mcnn\{suffix}"):
        mcnn(weights=str(path)).load_pretrained()


def test_an_hdf5_file_of_groups_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "mcnn.h5", "w") as file:
        file["DME/branch1"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"mcnn\.h5 cannot be read as HDF5 arrays"):
        mcnn(weights=str(tmp_path / "mcnn.h5")).load_pretrained()


def test_with_a_final_relu_no_cell_is_below_zero() -> None:
    image = torch.rand(1, 3, 16, 16)
    plain, clipped = mcnn(), mcnn(final_relu=True)
    clipped.load_state_dict(plain.state_dict())
    nn.init.constant_(plain.fuse.bias, -plain(image).mean().item())
    clipped.load_state_dict(plain.state_dict())
    assert plain(image).min() < 0
    assert torch.equal(clipped(image), plain(image).clamp(min=0))


def by_their_names(arrays: dict[str, Tensor], image: np.ndarray) -> Tensor:
    """The published network on their names, before its ReLU: (H, W, 3) uint8 -> (1, 1, ceil(H/4), ceil(W/4))."""
    height, width = image.shape[:2]
    luma = torch.from_numpy(image @ np.array([0.299, 0.587, 0.114])).float()
    inputs = functional.pad(luma, (0, -width % 4, 0, -height % 4))[None, None]
    columns = []
    for column in (1, 2, 3):
        features = inputs
        for number in (0, 2, 4, 5):
            name = f"DME.branch{column}.{number}.conv"
            features = functional.conv2d(
                features, arrays[f"{name}.weight"], arrays[f"{name}.bias"], padding="same"
            ).relu()
            features = functional.max_pool2d(features, 2) if number < 4 else features
        columns.append(features)
    fuse = arrays["DME.fuse.0.conv.weight"], arrays["DME.fuse.0.conv.bias"]
    return functional.conv2d(torch.cat(columns, dim=1), *fuse)


@pytest.mark.real
def test_a_real_checkpoint_gives_the_maps_that_it_gave_others(real: Path) -> None:
    """A window of each of the first 30 images; `benchmarks/published_mcnn.py` counts all 300 whole."""
    path = real / "mcnn_weights" / "mcnn_shtechA_660.h5"
    with h5py.File(path) as file:
        arrays = {name: torch.from_numpy(values[...]) for name, values in file.items()}
    network = mcnn(weights=str(path))
    network.load_pretrained()
    samples = build(Params(root=real / "shanghaitech", part="A")).samples([])
    for sample in islice((each for each in samples if each.split == "train"), 30):
        pixels = np.asarray(Image.open(sample.image).convert("RGB"))[:131, :150].copy()
        with torch.no_grad():
            ours = network(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
            torch.testing.assert_close(ours, by_their_names(arrays, pixels), rtol=1e-3, atol=1e-4)
