"""Kernels: where they lie, what they weigh, and whose they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.config import plugins
from components.config.options import Choice
from components.crowd import Crop, Window
from components.density_maps.crops import image_patches, with_margin
from components.density_maps.learned import kernel
from components.density_maps.learned.kernel import add_kernels, block_size, kernel_mask, normalised
from components.training.assemble import assemble
from tests import crowds
from tests.density_maps.test_learned import density_map, full_crops
from tests.training.trainings import same, trained


def seen(*dots: tuple[float, float], size: tuple[int, int] = (64, 96)) -> list[Crop]:
    [one] = full_crops(size, 4)
    return [replace(one, dots=torch.tensor(dots, dtype=torch.float64).reshape(-1, 2))]


def with_kernel(kernel: Tensor, **options: object):
    """A map whose net predicts one kernel (s, s) everywhere."""
    maps = density_map("kernel", side=kernel.shape[-1], **options)
    nn.init.zeros_(maps.layers[-1].weight)
    maps.layers[-1].bias = nn.Parameter(kernel.flatten())
    return maps


@pytest.mark.parametrize("positive", ["minimum", "softmax"])
@pytest.mark.parametrize("side", [5, 15])
@pytest.mark.parametrize(
    "dots",
    [(), ((20, 30),), ((0, 0), (96, 64)), ((5, 5), (5, 5), (90, 1)), ((0.1, 63.9), (95.9, 0), (48, 64))],
    ids=["none", "one", "corners", "coinciding", "borders"],
)
def test_every_dot_weighs_one(dots: tuple, side: int, positive: str) -> None:
    maps = density_map("kernel", side=side, positive=positive)
    made = maps(seen(*dots))
    assert made.min() >= 0
    assert made.sum().item() / 40 == pytest.approx(len(dots), rel=1e-5)
    made.square().sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in maps.parameters())


def test_a_kernel_lies_centred_on_the_cell_of_its_dot() -> None:
    """The dot at (50, 33) is in column 12 and row 8; one on the far edge belongs to the last cell."""
    peak = torch.zeros(5, 5)
    peak[2, 2], peak[2, 3], peak[1, 2] = 5, 3, 2  # the middle, the right, above
    made = with_kernel(peak)(seen((50, 33), (96, 64)))[0, 0] / 40
    expected = torch.zeros(16, 24)
    expected[8, 12], expected[8, 13], expected[7, 12] = 0.5, 0.3, 0.2
    expected[15, 23], expected[14, 23] = 5 / 7, 2 / 7  # what is right of it is cut off, and comes back
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("positive", ["minimum", "softmax"])
def test_a_flat_kernel_is_spread_evenly_over_what_is_inside(positive: str) -> None:
    made = with_kernel(torch.full((5, 5), 0.7), positive=positive)(seen((0, 0), (50, 33)))[0, 0] / 40
    torch.testing.assert_close(made[:3, :3], torch.full((3, 3), 1 / 9))
    torch.testing.assert_close(made[6:11, 10:15], torch.full((5, 5), 1 / 25))


def test_a_kernel_that_has_nothing_but_what_is_cut_off_is_spread_evenly() -> None:
    kernel = torch.zeros(5, 5)
    kernel[0, 0] = 1
    made = with_kernel(kernel)(seen((0, 0)))[0, 0] / 40
    torch.testing.assert_close(made[:3, :3], torch.full((3, 3), 1 / 9))


def test_the_softmax_of_a_kernel_cut_off_is_that_of_what_is_left() -> None:
    predicted = torch.rand(3, 5, 5)
    inside = kernel_mask(torch.tensor([[0, 0], [3, 9], [9, 9]]), torch.tensor([[10, 10]] * 3), 5)
    shares = predicted.exp() * inside
    torch.testing.assert_close(normalised(predicted, inside, "softmax"), shares / shares.sum(dim=(1, 2), keepdim=True))
    assert inside.sum(dim=2).tolist() == [[0, 0, 3, 3, 3], [5, 5, 5, 0, 0], [3, 3, 3, 0, 0]]


def test_kernels_are_added_as_a_loop_over_the_dots_would() -> None:
    here, which = torch.randint(0, 8, (40, 2)), torch.randint(0, 3, (40,))
    kernels, wider = torch.rand(40, 5, 5), torch.zeros(3, 8 + 4, 8 + 4)
    for each, (column, row), number in zip(kernels, here.tolist(), which.tolist(), strict=True):
        wider[number, row : row + 5, column : column + 5] += each
    torch.testing.assert_close(add_kernels(kernels, here, which, (3, 8, 8)), wider[:, None, 2:-2, 2:-2])


def test_every_place_and_every_image_of_a_batch_has_its_own_kernels() -> None:
    maps, [one] = density_map("kernel"), seen((40, 30), (90, 60))
    other = replace(one, image=255 - one.image, dots=one.dots.flip(0) - 8)
    made = maps([one, other])
    torch.testing.assert_close(made[0], maps([one])[0])
    torch.testing.assert_close(made[1], maps([other])[0])
    same_dots = replace(other, dots=one.dots)
    assert (maps([one]) - maps([same_dots])).abs().max() > 0.01 * made.max()
    first, second = (made[0, 0, row - 3 : row + 1, column - 3 : column + 1] for row, column in ((7, 10), (15, 22)))
    assert (first - second).abs().max() > 0.01 * made.max()


def whole_image(maps, images: Tensor) -> Tensor:
    """The authors' net, (B, 3, H, W) -> (B, s x s, H / 16, W / 16): zeros around every layer, the maximum last."""
    *convolutions, last = (layer for layer in maps.layers if isinstance(layer, nn.Conv2d))
    for layer in convolutions:
        images = functional.max_pool2d(functional.leaky_relu(layer(functional.pad(images, (1,) * 4)), 0.01), 2)
    return last(functional.pad(images, (1,) * 4))


def test_the_net_is_that_of_the_authors_code() -> None:
    layers = density_map("kernel", preset="paper", side=15).layers
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [each.out_channels for each in convolutions] == [32, 64, 128, 128, 225]
    assert {each.kernel_size for each in convolutions} == {(3, 3)}


@pytest.mark.parametrize(
    ("dots", "block"),
    [
        ([], (1, 1)),
        ([(0, 0)], (1, 1)),
        ([(0, 0), (299, 124), (150, 60)], (1, 1)),  # corners, with the image's padding to squares, and the middle
        ([(x, y) for x in range(128, 160, 16) for y in range(32, 64, 16)], (2, 2)),  # side by side
        ([(x, y) for x in range(3, 300, 16) for y in range(3, 125, 16)], (8, 19)),  # everywhere: in one piece
    ],
    ids=["none", "one", "far", "near", "everywhere"],
)
@pytest.mark.parametrize("window", [Window(0, 0, 128, 304), Window(16, 112, 96, 64)], ids=["whole", "part"])
def test_the_net_runs_on_blocks_as_on_the_whole_image(
    dots: list, block: tuple[int, int], window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels, and the gradients of every weight, in double precision: in single precision a maximum may be taken of
    another cell of two that are nearly equal. The biases make something of zeros."""
    torch.manual_seed(0)
    monkeypatch.setattr(kernel, "image_patches", lambda crops: image_patches(crops).double())
    maps, [one] = density_map("kernel", initialisation="default", precision="fp32").double(), seen(size=(125, 300))
    places = torch.tensor([(0, (y - window.top) // 16, (x - window.left) // 16) for x, y in dots]).reshape(-1, 3).long()
    held = ((places >= 0) & (places < torch.tensor([1, window.height // 16, window.width // 16]))).all(dim=1)
    places = places[held]
    if window.top == 0:
        assert block_size(places, (8, 19)) == block
    image = image_patches([one.at(Window(0, 0, 128, 304))]).double()
    rows, columns = places[:, 1] + window.top // 16, places[:, 2] + window.left // 16
    expected = whole_image(maps, image)[0, :, rows, columns].T
    weights = torch.rand_like(expected)
    slopes = torch.autograd.grad((expected * weights).sum(), maps.layers.parameters())
    made = maps.features([one.at(window)], places)
    torch.testing.assert_close(made, expected, rtol=1e-10, atol=1e-12)
    for found, slope in zip(torch.autograd.grad((made * weights).sum(), maps.layers.parameters()), slopes, strict=True):
        torch.testing.assert_close(found, slope, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("start", [0, 4, 52, 60, 96])
def test_a_window_with_a_margin_on_a_grid_holds_the_margin_or_ends_with_the_image(start: int) -> None:
    window = with_margin(Window(start, 8, 32, 32), (125, 300), 20, 4, 16)
    assert (window.top % 16, window.left % 16, window.height % 16, window.width % 16) == (0, 0, 0, 0)
    assert window.top <= max(0, start - 20)
    assert window.top + window.height >= min(128, start + 52)
    assert (window.height, window.width) == (96, 96)


def test_even_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"side: 8 is even.*write 7"):
        density_map("kernel", side=8)


def test_kernels_learn_with_the_counter_and_their_maps_can_be_shown(made) -> None:
    plan = crowds.plan(
        {"kind": "kernel", "warm_up": 1}, epochs=1, crop=[32, 48], loss={"kind": "squared_error", "cosine": 10}
    )
    model, states = trained(made, plan)
    assert not same(assemble(plan, 0).density_map.state_dict(), model.density_map.state_dict())
    assert states[-1]["history"][-1]["map_sum_error"] == pytest.approx(0, abs=1e-4)
    shown = model.target_map(np.array([[10, 20]]), (48, 64), np.zeros((12, 16)), np.zeros((48, 64, 3), np.uint8))
    assert shown.sum() == pytest.approx(1, rel=1e-5)


def test_the_cosine_sees_the_shape_and_not_the_size() -> None:
    """Of (3, 4) and (6, 8), of (1, 0) and (0, 1), and of a map without people."""
    loss = plugins.build(
        "loss",
        "squared_error",
        plugins.resolve("loss", Choice(kind="squared_error", cosine=10), "test"),
        stride=4,
        scale=1,
    )
    predicted = torch.tensor([[3.0, 4], [1, 0], [1, 2]]).view(3, 1, 1, 2).requires_grad_()
    made = loss(predicted, torch.tensor([[6.0, 8], [0, 1], [0, 0]]).view(3, 1, 1, 2), None)
    torch.testing.assert_close(made, torch.tensor([25.0, 2 + 10, 5 + 10]))
    made.sum().backward()
    assert torch.isfinite(predicted.grad).all()
