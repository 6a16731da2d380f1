"""One contract for every counter that is found, and what its paper says of each."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.config import plugins
from components.config.options import Choice
from components.counters.csrnet import CSRNet
from components.counters.shared.preprocessing import IMAGENET_MEAN
from components.counters.shared.resnet import FrozenBatchNorm, ResNet101
from components.counters.shared.spatial_encoder import CHANNELS, SpatialEncoder
from components.counters.shared.vgg import VGG16
from components.counters.shared.weights import Published, load_backbone
from components.crowd import RANDOM_INITIALISATION, cell_count, pad_to
from components.errors import UserError
from components.networks import trainable

OFFLINE = {kind: {"weights": "random"} for kind in ("csrnet", "sfcn", "efficientnet_lite")}
VARIANTS = [pytest.param(kind, {}, id=kind) for kind in plugins.kinds("counter")] + [
    pytest.param("sfcn", {"backbone": "resnet101"}, id="sfcn-resnet101"),
    pytest.param("mcnn", {"channels": 1}, id="mcnn-grey"),
    pytest.param("efficientnet_lite", {"stride": 4, "fixed_blocks": 0}, id="efficientnet-lite-stride-4"),
]


def counter(kind: str, preset: str = "stable", outputs: int = 1, **options: object):
    choice = Choice(kind=kind, **(OFFLINE.get(kind, {}) | options))
    return plugins.build("counter", kind, plugins.resolve("counter", choice, "test", preset), channels=outputs)


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_maps_have_the_size_of_the_grid_at_any_size_of_image(kind: str, options: dict) -> None:
    network = counter(kind, **options)
    for height, width in ((32, 48), (33, 50), (7, 9)):
        with torch.no_grad():
            maps = network(torch.rand(2, 3, height, width))
        assert maps.shape == (2, 1, cell_count(height, network.stride), cell_count(width, network.stride))


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_a_counter_gives_as_many_channels_as_its_loss_reads(kind: str, options: dict) -> None:
    """They differ, all but its last layer is the same, and without a number there is one."""
    one, several = (counter(kind, outputs=outputs, **options) for outputs in (1, 5))
    shapes = [[weight.shape for weight in network.parameters()] for network in (one, several)]
    assert sum(first != second for first, second in zip(*shapes, strict=True)) == 2
    with torch.no_grad():
        maps = several(torch.rand(2, 3, 32, 48))
    assert maps.shape == (2, 5, 32 // several.stride, 48 // several.stride)
    assert all((maps[:, 0] - maps[:, channel]).abs().max() > 0 for channel in range(1, 5))
    choice = Choice(kind=kind, **(OFFLINE.get(kind, {}) | options))
    default = plugins.build("counter", kind, plugins.resolve("counter", choice, "test"))
    assert [weight.shape for weight in default.parameters()] == shapes[0]


@pytest.mark.parametrize("preset", ["stable", "paper"])
@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_gradient_reaches_every_weight(kind: str, options: dict, preset: str) -> None:
    network = counter(kind, preset, **options)
    network(torch.rand(1, 3, 64, 64)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in trainable(network).values())


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_the_same_image_gives_the_same_map(kind: str, options: dict) -> None:
    network, image = counter(kind, **options), torch.rand(1, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(network(image), network(image))


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_padding_neither_cuts_nor_adds_people(kind: str, options: dict) -> None:
    """An odd image counts as one that was extended with the colour that the network takes for nothing."""
    network, image = counter(kind, **options), torch.rand(1, 3, 33, 50)
    mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    nothing = torch.full_like(mean, 0.45) if options.get("channels") == 1 else mean
    nothing = torch.full_like(mean, 127 / 255) if kind == "efficientnet_lite" else nothing
    extended = nothing + pad_to(image - nothing, network.stride)
    with torch.no_grad():
        torch.testing.assert_close(network(image), network(extended), rtol=1e-4, atol=1e-5)


FCN_LAYERS = ((3, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 32), (32, 1))
ENCODER = 2 * (64 * 64 * 9 + 64)
CSRNET = 16_263_489
RESNET101 = 44_549_160 - 14_964_736 - 2_049_000  # torchvision's figures: all, without layer4, without fc
BACK_END = CSRNET - 7_635_264 + 9 * 512 * (1024 - 512)  # without VGG-16's ten convolutions, on 1024 features


@pytest.mark.parametrize(
    ("kind", "options", "parameters"),
    [
        ("mcnn", {"channels": 1}, 127_953),
        ("mcnn", {"channels": 3}, 133_705),
        ("csrnet", {}, CSRNET),
        ("fcn", {}, sum(25 * narrow * wide + wide for narrow, wide in FCN_LAYERS)),
        ("sfcn", {}, CSRNET + ENCODER),
        ("sfcn", {"backbone": "resnet101"}, RESNET101 + BACK_END + ENCODER),
    ],
)
def test_parameters_are_as_many_as_the_papers_say(kind: str, options: dict, parameters: int) -> None:
    assert sum(weight.numel() for weight in counter(kind, **options).parameters()) == parameters


def test_fcn_normalises_behind_its_first_four_convolutions() -> None:
    network, image = counter("fcn").double(), torch.rand(1, 3, 16, 24, dtype=torch.double)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    features = (image - image.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1)) / image.new_tensor(
        (0.229, 0.224, 0.225)
    ).view(1, 3, 1, 1)
    for number, layer in enumerate(convolutions[:-1]):
        features = functional.conv2d(features, layer.weight, layer.bias, padding=2).clamp(min=0)
        if number < 4:
            squares = functional.pad(features.square(), (0, 0, 0, 0, 2, 2))
            spread = sum(squares[:, shift : shift + features.shape[1]] for shift in range(5)) / 5
            features = features / (1 + 1e-4 * spread) ** 0.75
        if number in (1, 3):
            features = features.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(-1, -2))
    expected = functional.conv2d(features, convolutions[-1].weight, convolutions[-1].bias, padding=2)
    torch.testing.assert_close(network(image), expected, rtol=1e-5, atol=1e-6)


def slice_by_slice(encoder: SpatialEncoder, features: Tensor) -> Tensor:
    """The encoder's definition: each slice adds what its convolution hears from the slice before it."""
    for convolution, axis in ((encoder.along_rows, 2), (encoder.along_columns, 3)):
        slices = list(features.split(1, axis))
        order = range(len(slices))
        for places in (order, order[::-1]):
            for before, place in pairwise(places):
                slices[place] = slices[place] + convolution(slices[before]).relu()
        features = torch.cat(slices, axis)
    return features


@pytest.mark.parametrize("size", [(2, 5, 7), (1, 12, 3), (1, 2, 2)])
def test_the_encoder_is_its_definition_forward_and_backward(size: tuple[int, int, int]) -> None:
    batch, height, width = size
    encoder = SpatialEncoder().double()
    features = torch.randn(batch, CHANNELS, height, width, dtype=torch.double, requires_grad=True)
    weights, toward = [features, *encoder.parameters()], torch.randn_like(features)
    ours, expected = encoder(features), slice_by_slice(encoder, features)
    torch.testing.assert_close(ours, expected)
    gradients = torch.autograd.grad(ours, weights, toward), torch.autograd.grad(expected, weights, toward)
    torch.testing.assert_close(*gradients)


def test_the_encoder_passes_a_single_cell_through() -> None:
    features = torch.randn(3, CHANNELS, 1, 1)
    assert torch.equal(SpatialEncoder()(features), features)


def test_the_encoder_learns_in_bfloat16() -> None:
    encoder, features = SpatialEncoder(), torch.randn(1, CHANNELS, 4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        maps = encoder(features.bfloat16())
    maps.sum().backward()
    assert maps.dtype == torch.bfloat16
    assert all(weight.grad.dtype == torch.float32 and weight.grad.abs().sum() > 0 for weight in encoder.parameters())
    torch.testing.assert_close(maps.float(), encoder(features), rtol=0.05, atol=0.05)


def test_resnet_has_torchvisions_names() -> None:
    names = set(ResNet101().state_dict())
    norm = ("weight", "bias", "running_mean", "running_var")
    expected = {"conv1.weight", *(f"bn1.{part}" for part in norm)}
    for stage, blocks in (("layer1", 3), ("layer2", 4), ("layer3", 23)):
        expected |= {f"{stage}.0.downsample.0.weight", *(f"{stage}.0.downsample.1.{part}" for part in norm)}
        for block in range(blocks):
            expected |= {f"{stage}.{block}.conv{number}.weight" for number in (1, 2, 3)}
            expected |= {f"{stage}.{block}.bn{number}.{part}" for number in (1, 2, 3) for part in norm}
    assert names == expected


def test_training_leaves_the_stored_statistics_alone() -> None:
    frozen, batches = FrozenBatchNorm(3), torch.randn(4, 3, 5, 6)
    reference = nn.BatchNorm2d(3)
    for value in reference.state_dict().values():
        value.copy_(torch.rand_like(value.float()))
    state = {name: value for name, value in reference.state_dict().items() if name != "num_batches_tracked"}
    frozen.load_state_dict(state)
    torch.testing.assert_close(frozen.train()(batches), reference.eval()(batches))
    assert all(torch.equal(value, state[name]) for name, value in frozen.state_dict().items())


def test_resnet_without_weights_keeps_the_size_of_its_features() -> None:
    with torch.no_grad():
        features = ResNet101()(torch.randn(2, 3, 64, 64))
    assert 0.1 < features.square().mean().sqrt() < 30


def torchvisions(front_end: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Random weights as torchvision would have saved them, with the layers that a counter leaves out."""
    state = {prefix + name: torch.randn_like(value) for name, value in front_end.state_dict().items()}
    return state | {"fc.bias": torch.zeros(3), "bn1.num_batches_tracked": torch.tensor(7)}


@pytest.mark.parametrize(
    ("kind", "options", "prefix", "name"),
    [
        ("csrnet", {}, "features.", "VGG-16"),
        ("sfcn", {}, "features.", "VGG-16"),
        ("sfcn", {"backbone": "resnet101"}, "", "ResNet-101"),
    ],
)
def test_a_backbone_starts_from_a_local_file(kind: str, options: dict, prefix: str, name: str, tmp_path: Path) -> None:
    state = torchvisions(counter(kind, **options).front_end, prefix)
    torch.save(state, tmp_path / "weights.pth")
    network = counter(kind, weights=str(tmp_path / "weights.pth"), **options)
    assert network.load_pretrained() == f"{name} (ImageNet)"
    assert all(torch.equal(value, state[prefix + key]) for key, value in network.front_end.state_dict().items())


def test_public_weights_are_fetched_once_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    network, saved = nn.Linear(2, 1), nn.Linear(2, 1)
    torch.save({f"net.{name}": value for name, value in saved.state_dict().items()}, tmp_path / "made.pth")
    digest = hashlib.sha256((tmp_path / "made.pth").read_bytes()).hexdigest()[:8]
    source = (tmp_path / "made.pth").rename(tmp_path / f"made-{digest}.pth")
    published = Published("Made", source.as_uri(), prefix="net.")
    assert load_backbone(network, "imagenet", published) == "Made (ImageNet)"
    source.unlink()
    assert load_backbone(network, "imagenet", published) == "Made (ImageNet)"
    assert torch.equal(network.weight, saved.weight)


def test_weights_that_cannot_be_downloaded_stop_with_the_address_and_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    nowhere = Published("Made", (tmp_path / "nowhere-01234567.pth").as_uri())
    with pytest.raises(UserError, match=r"Made cannot be downloaded from file.*nowhere.*: PATH.*weights: random"):
        load_backbone(nn.Linear(2, 1), "imagenet", nowhere)


def test_vggs_convolutions_have_torchvisions_numbers() -> None:
    names = {int(name.split(".")[0]) for name in counter("csrnet").front_end.state_dict()}
    assert names == {0, 2, 5, 7, 10, 12, 14, 17, 19, 21}


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_a_counter_without_weights_says_so(kind: str, options: dict) -> None:
    assert counter(kind, **options).load_pretrained() == RANDOM_INITIALISATION


@pytest.mark.parametrize("content", [None, b"not weights"])
def test_bad_weight_files_are_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "vgg.pth"
    if content:
        path.write_bytes(content)
    network: CSRNet = counter("csrnet", weights=str(path))
    with pytest.raises(UserError, match=r"counter\.weights: .*vgg\.pth"):
        network.load_pretrained()


def test_a_file_that_holds_no_names_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "one.pth")
    with pytest.raises(UserError, match=r"one\.pth holds a Tensor"):
        load_backbone(nn.Linear(2, 1), tmp_path / "one.pth", VGG16)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"does not hold VGG-16: features\.0"):
        counter("csrnet", weights=str(tmp_path / "other.pth")).load_pretrained()
