"""Refiner and generator: equations (3) to (7) against other formulas, and cutting against the whole image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from components import plugins
from components.crowd import Batch, Window
from components.density_maps._gaussian import draw
from components.density_maps.windows import cut, whole, with_margin
from components.params import Choice

STRIDES = (4, 8)


def density_map(kind: str, stride: int = 4, preset: str = "stable", scale: float = 40.0, **options: object):
    small = {"widths": [8, 8, 8]} if kind == "refined" else {}
    resolved = plugins.resolve("density map", Choice(kind=kind, **(small | options)), "test", preset)
    return plugins.build("density map", kind, resolved, stride=stride, scale=scale)


def batch(size: tuple[int, int], windows: list[Window], stride: int, people: int = 30) -> Batch:
    """The same made image several times, seen through different windows."""
    source = torch.Generator().manual_seed(7)
    dots = torch.rand(people, 2, dtype=torch.float64, generator=source) * torch.tensor([size[1], size[0]])
    annotation = draw(dots, 4.0, size, side=stride)
    return Batch(
        images=torch.zeros(len(windows), 3, windows[0].height, windows[0].width, dtype=torch.uint8),
        flipped=torch.zeros(len(windows), dtype=torch.bool),
        numbers=[0] * len(windows),
        windows=windows,
        sizes=[size] * len(windows),
        dots=[dots] * len(windows),
        annotations=[annotation] * len(windows),
    )


def features(layers: nn.Sequential) -> list[int]:
    return [layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize("kind", plugins.kinds("density map"))
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("size", [(128, 160), (131, 157)])
def test_what_is_made_for_a_crop_is_the_crop_of_the_whole(kind: str, stride: int, size: tuple[int, int]) -> None:
    """In a corner, inside, along a border, and over the image's last cells."""
    maps, full = density_map(kind, stride), whole(size, stride)
    corners = [(0, 0), (48, 56), (0, 64), (full.height - 32, full.width - 48)]
    windows = [Window(*corner, 32, 48) for corner in corners]
    with torch.no_grad():
        of_whole = maps(batch(size, [full], stride), [full])[0]
        of_crops = maps(batch(size, windows, stride), windows)
    assert of_whole.shape == (1, full.height // stride, full.width // stride)
    for made, window in zip(of_crops, windows, strict=True):
        torch.testing.assert_close(made, cut(of_whole, window, full, stride), rtol=1e-4, atol=1e-4)


def test_a_crop_without_its_margin_is_another_map() -> None:
    """The test above can fail: zero padding at the cut changes what the generator makes."""
    maps, window = density_map("generated"), Window(48, 56, 32, 48)
    crops = batch((128, 160), [window], 4)
    with torch.no_grad():
        right = maps(crops, [window])[0]
        padded = maps.fuse(maps.blurred(crops, 0, window)[None])[0]
    assert (right - padded).abs().max() > 0.01 * right.abs().max()


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (Window(0, 0, 32, 32), Window(0, 0, 80, 80)),
        (Window(40, 64, 32, 32), Window(16, 40, 80, 80)),
        (Window(96, 128, 32, 32), Window(48, 80, 80, 80)),
    ],
)
def test_margins_stay_inside_and_keep_one_size(window: Window, expected: Window) -> None:
    assert with_margin(window, (128, 160), 24, 4) == expected


@pytest.mark.parametrize("kind", ["refined", "generated"])
@pytest.mark.parametrize("stride", STRIDES)
def test_gradient_reaches_every_weight(kind: str, stride: int) -> None:
    maps, full = density_map(kind, stride), whole((64, 64), stride)
    maps(batch((64, 64), [full], stride), [full]).square().sum().backward()
    convolutions = [layer for layer in maps.modules() if isinstance(layer, nn.Conv2d)]
    assert all(layer.weight.grad.abs().sum() > 0 and layer.bias.grad.abs().sum() > 0 for layer in convolutions)


def test_blurred_maps_are_gaussian_filters_of_the_dot_map() -> None:
    """Equation (4), away from the border, against scipy's sampled kernel of a wide bandwidth."""
    maps, full = density_map("generated"), Window(0, 0, 96, 96)
    one = batch((96, 96), [full], 4)
    dots = np.zeros((96, 96))
    dots[48, 40] = 1
    one = Batch(**{**vars(one), "dots": [torch.tensor([[40.5, 48.5]], dtype=torch.float64)]})
    drawn = maps.blurred(one, 0, full)
    assert drawn.shape == (5, 96, 96)
    np.testing.assert_allclose(drawn[3].numpy(), gaussian_filter(dots, 8, truncate=6), atol=5e-6)
    np.testing.assert_allclose(drawn.sum(dim=(1, 2)).numpy(), 1, atol=1e-5)


def test_attention_is_a_share_of_each_blurred_map() -> None:
    shares = density_map("generated").attention(torch.rand(1, 5, 16, 16))
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(1, 16, 16))


def test_the_paper_presets_networks_are_table_1() -> None:
    refiner = density_map("refined", preset="paper", widths=(512, 512, 256, 128, 64))
    generator = density_map("generated", stride=8, preset="paper")
    assert [layer.out_channels for layer in refiner.layers if hasattr(layer, "kernel_size")] == [
        512,
        512,
        256,
        128,
        64,
        1,
    ]
    assert [type(layer).__name__ for layer in generator.attention] == ["Conv2d", "ReLU"] * 2 + ["Conv2d", "Softmax"]
    assert [type(layer).__name__ for layer in generator.fusion] == [
        *(["Conv2d", "ReLU", "AvgPool2d"] * 3),
        "Conv2d",
        "PReLU",
    ]
    assert features(generator.fusion) == [128, 32, 8, 1]
    assert features(generator.attention) == [128, 32, 5]


def test_refinement_loss_of_equation_3() -> None:
    maps, window = density_map("refined", alpha=2.5), Window(0, 0, 64, 64)
    one = batch((64, 64), [window], 4)
    made = torch.rand(1, 1, 16, 16)
    expected = 2.5 * ((made - 40 * one.annotations[0]) ** 2).sum()
    torch.testing.assert_close(maps.refinement_loss(made, one, [window]), expected[None])


def test_refinement_loss_of_equation_7_on_a_whole_image_counts_the_dots() -> None:
    maps, window = density_map("generated", beta=0.5), Window(0, 0, 64, 64)
    one = batch((64, 64), [window], 4, people=30)
    made = torch.full((1, 1, 16, 16), 40 * 25 / 256)  # 25 people
    torch.testing.assert_close(maps.refinement_loss(made, one, [window]), torch.tensor([0.5 * 5**2]), rtol=1e-3, atol=0)


def test_a_generator_for_another_stride_is_refused() -> None:
    with pytest.raises(ValueError, match="stride 4 or 8, not 16"):
        density_map("generated", stride=16)


def test_no_dots_make_a_map_all_the_same() -> None:
    maps, window = density_map("generated"), Window(0, 0, 64, 64)
    made = maps(batch((64, 64), [window], 4, people=0), [window])
    assert torch.isfinite(made).all()
