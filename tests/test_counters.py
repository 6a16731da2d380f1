"""One contract for every counter that is found, and what its paper says of each."""

from __future__ import annotations

import pytest
import torch

from components import plugins
from components.counters.csrnet import CSRNet
from components.crowd import OWN, cells
from components.params import Choice

OFFLINE = {"csrnet": {"weights": "none"}}


def counter(kind: str, preset: str = "stable", **options: object):
    choice = Choice(kind=kind, **(OFFLINE.get(kind, {}) | options))
    return plugins.build("counter", kind, plugins.resolve("counter", choice, "test", preset))


@pytest.mark.parametrize("kind", plugins.kinds("counter"))
@pytest.mark.parametrize("size", [(32, 48), (33, 50), (7, 9)])
def test_maps_have_the_size_of_the_grid_at_any_size_of_image(kind: str, size: tuple[int, int]) -> None:
    network = counter(kind)
    with torch.no_grad():
        maps = network(torch.rand(2, 3, *size))
    assert maps.shape == (2, 1, cells(size[0], network.stride), cells(size[1], network.stride))


@pytest.mark.parametrize("preset", ["stable", "paper"])
@pytest.mark.parametrize("kind", plugins.kinds("counter"))
def test_gradient_reaches_every_weight(kind: str, preset: str) -> None:
    network = counter(kind, preset)
    network(torch.rand(1, 3, 64, 64)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())


@pytest.mark.parametrize("kind", plugins.kinds("counter"))
def test_the_same_image_gives_the_same_map(kind: str) -> None:
    network, image = counter(kind), torch.rand(1, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(network(image), network(image))


@pytest.mark.parametrize(
    ("kind", "options", "parameters"),
    [("mcnn", {"channels": 1}, 127_953), ("mcnn", {"channels": 3}, 133_705), ("csrnet", {}, 16_263_489)],
)
def test_parameters_are_as_many_as_the_papers_say(kind: str, options: dict, parameters: int) -> None:
    assert sum(weight.numel() for weight in counter(kind, **options).parameters()) == parameters


def test_csrnet_starts_from_a_local_vgg_file(tmp_path) -> None:
    source = counter("csrnet")
    state = {f"features.{name}": torch.randn_like(value) for name, value in source.front_end.state_dict().items()}
    torch.save(state | {"classifier.0.bias": torch.zeros(3)}, tmp_path / "vgg.pth")
    network = counter("csrnet", weights=str(tmp_path / "vgg.pth"))
    assert network.start() == "VGG-16 (ImageNet)"
    assert all(torch.equal(value, state[f"features.{name}"]) for name, value in network.front_end.state_dict().items())


def test_vggs_convolutions_have_torchvisions_numbers() -> None:
    names = {int(name.split(".")[0]) for name in counter("csrnet").front_end.state_dict()}
    assert names == {0, 2, 5, 7, 10, 12, 14, 17, 19, 21}


def test_csrnet_without_weights_says_so() -> None:
    assert counter("csrnet").start() == OWN


@pytest.mark.parametrize("content", [None, b"not weights"])
def test_bad_weight_files_are_named(tmp_path, content: bytes | None) -> None:
    path = tmp_path / "vgg.pth"
    if content:
        path.write_bytes(content)
    network: CSRNet = counter("csrnet", weights=str(path))
    with pytest.raises(ValueError, match=r"counter\.weights: .*vgg\.pth"):
        network.start()


def test_weights_of_another_network_are_refused(tmp_path) -> None:
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"does not hold VGG-16: features\.0"):
        counter("csrnet", weights=str(tmp_path / "other.pth")).start()
