"""Drawn density maps: exact values from other formulas, sums at every border, cuts, flips, and every kind there is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import loadmat
from scipy.stats import truncnorm
from torch import Tensor

from components.config import plugins
from components.config.options import Choice
from components.crowd import Window, block_sum
from components.density_maps.gaussian import cell_mass, draw, draw_within

SIZES = [(1, 1), (3, 5), (7, 1025), (64, 48), (241, 319)]


def scattered(people: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.rand(people, 2, generator=stream, dtype=torch.float64) * torch.tensor([size[1], size[0]])


def total(drawn: Tensor) -> float:
    return drawn.double().sum().item()


def sampled(dots: Tensor, sigmas: Tensor, size: tuple[int, int], side: int, fine: int = 16) -> np.ndarray:
    """The map by brute force: every kernel sampled at fine x fine points a pixel and divided by its sum."""
    y, x = np.meshgrid(*((np.arange(pixels * fine) + 0.5) / fine for pixels in size), indexing="ij")
    surface = np.zeros_like(x)
    for (dot_x, dot_y), sigma in zip(dots.tolist(), sigmas.tolist(), strict=True):
        kernel = np.exp(-((x - dot_x) ** 2 + (y - dot_y) ** 2) / (2 * sigma**2))
        surface += kernel / kernel.sum()
    return block_sum(surface, side * fine)


def test_the_middle_cell_holds_what_the_tables_of_the_normal_distribution_say() -> None:
    drawn = draw(torch.tensor([[6.0, 6.0]]), 2.0, (12, 12))
    one_sigma, three_sigmas = 0.682689492, 0.997300204  # the middle cell ends at 1 sigma, the image at 3
    assert drawn[1, 1].item() == pytest.approx((one_sigma / three_sigmas) ** 2, abs=1e-7)


def test_a_dot_between_four_cells_is_shared_by_them() -> None:
    drawn = draw(torch.tensor([[4.0, 4.0]]), 3.0, (8, 8))
    torch.testing.assert_close(drawn, torch.full((2, 2), 0.25))


def test_a_huge_kernel_spreads_its_dot_evenly() -> None:
    drawn = draw(torch.tensor([[1.0, 7.0]]), 1e9, (8, 16))
    torch.testing.assert_close(drawn, torch.full((2, 4), 1 / 8))


def test_cells_hold_the_mass_of_a_truncated_normal_distribution() -> None:
    centres, sigmas, extent = [0.0, 3.7, 18.2, 21.5], [0.3, 2.0, 7.0, 40.0], 21.5
    drawn = cell_mass(torch.tensor(centres), torch.tensor(sigmas), extent, first=-2, count=10, side=4)
    edges = np.arange(-2, 9) * 4
    for mass, centre, sigma in zip(drawn.numpy(), centres, sigmas, strict=True):
        truncated = truncnorm(-centre / sigma, (extent - centre) / sigma, loc=centre, scale=sigma)
        np.testing.assert_allclose(mass, np.diff(truncated.cdf(edges)), atol=1e-6)
        assert (mass[:2] == 0).all()
        assert (mass[8:] == 0).all()


def test_maps_agree_with_kernels_sampled_finely() -> None:
    size = (18, 25)
    dots = torch.cat([scattered(6, size), torch.tensor([[0.0, 0.0], [25.0, 9.0]])])
    sigmas = torch.tensor([0.8, 1.0, 2.0, 3.0, 5.0, 30.0, 4.0, 2.0])
    np.testing.assert_allclose(draw(dots, sigmas, size).numpy(), sampled(dots, sigmas, size, 4), atol=1e-3)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 4.0, 16.0, 205.0, 1e6])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("people", [0, 1, 2, 3, 500])
def test_a_map_sums_to_its_dots(people: int, size: tuple[int, int], sigma: float) -> None:
    drawn = draw(scattered(people, size), sigma, size)
    assert drawn.shape == (math.ceil(size[0] / 4), math.ceil(size[1] / 4))
    assert drawn.dtype == torch.float32
    assert total(drawn) == pytest.approx(people, abs=1e-4)


def test_a_map_of_thousands_sums_to_its_dots() -> None:
    assert total(draw(scattered(20_000, (768, 1024)), 4.0, (768, 1024))) == pytest.approx(20_000, abs=1e-4)


@pytest.mark.parametrize("sigma", [0.1, 4.0, 1000.0])
@pytest.mark.parametrize("size", SIZES)
def test_dots_on_borders_and_corners_weigh_one(size: tuple[int, int], sigma: float) -> None:
    height, width = size
    dots = [[0, 0], [width, 0], [0, height], [width, height], [width / 2, 0], [width, height / 3]]
    assert total(draw(torch.tensor(dots, dtype=torch.float64), sigma, size)) == pytest.approx(6, abs=1e-5)


def test_coinciding_dots_add() -> None:
    dot = torch.tensor([[13.2, 5.9]])
    alone, crowd = draw(dot, 3.0, (24, 32)), draw(dot.repeat(3000, 1), 3.0, (24, 32))
    torch.testing.assert_close(crowd, 3000 * alone)
    assert total(crowd) == pytest.approx(3000, abs=1e-4)


def test_block_sums_of_a_fine_map_are_the_coarse_map() -> None:
    size = (39, 54)
    dots = scattered(20, size)
    fine, coarse = draw(dots, 2.5, size, side=1), draw(dots, 2.5, size, side=4)
    np.testing.assert_allclose(block_sum(fine.numpy(), 4), coarse.numpy(), atol=1e-6)


def test_flipping_the_dots_flips_the_map() -> None:
    dots = scattered(20, (40, 56))
    flipped = torch.stack([56 - dots[:, 0], dots[:, 1]], dim=1)
    torch.testing.assert_close(draw(flipped, 3.0, (40, 56)), draw(dots, 3.0, (40, 56)).flip(1))


@pytest.mark.parametrize(
    "window", [Window(8, 12, 16, 20), Window(0, 0, 40, 56), Window(-8, -16, 32, 24), Window(24, 40, 40, 40)]
)
@pytest.mark.parametrize("sigma", [0.5, 2.0, 30.0])
def test_a_window_is_a_cut_of_the_whole_map_and_zero_outside(window: Window, sigma: float) -> None:
    size, around = (38, 53), 64
    dots = scattered(20, size)
    whole = torch.nn.functional.pad(draw(dots, sigma, size), (around // 4,) * 4)
    top, left = (window.top + around) // 4, (window.left + around) // 4
    cut = whole[top : top + window.height // 4, left : left + window.width // 4]
    torch.testing.assert_close(draw(dots, sigma, size, window=window), cut, atol=1e-7, rtol=1e-5)


def test_a_map_can_be_drawn_from_bandwidths_that_are_learned() -> None:
    sigmas = torch.tensor([1.0, 3.0], dtype=torch.float64, requires_grad=True)
    dots = scattered(2, (8, 8))
    assert torch.autograd.gradcheck(lambda s: cell_mass(dots[:, 0], s, 8, first=0, count=2, side=4), sigmas)


def test_fixed_gives_every_dot_its_sigma() -> None:
    kernel = _kernel(Choice(kind="fixed", sigma=16))
    np.testing.assert_array_equal(kernel.bandwidths(np.ones((3, 2))), [16, 16, 16])


def test_adaptive_is_a_share_of_the_mean_distance_to_the_nearest_others() -> None:
    corners = np.array([[0.0, 0.0], [30.0, 0.0], [0.0, 40.0], [30.0, 40.0]])  # sides 30 and 40, diagonals 50
    kernel = _kernel(Choice(kind="adaptive"))
    np.testing.assert_allclose(kernel.bandwidths(corners), 0.3 * (30 + 40 + 50) / 3)


def test_adaptive_counts_coinciding_dots_as_neighbours() -> None:
    dots = np.array([[10.0, 10.0], [10.0, 10.0], [40.0, 50.0], [40.0, 50.0], [40.0, 50.0]])
    kernel = _kernel(Choice(kind="adaptive"))  # distances of the pair: 0, 50, 50; of the three: 0, 0, 50
    np.testing.assert_allclose(kernel.bandwidths(dots), [10, 10, 5, 5, 5])


def test_adaptive_clamps() -> None:
    pile, far = np.zeros((4, 2)), np.array([[0.0, 0.0], [900.0, 0.0], [0.0, 900.0], [900.0, 900.0]])
    kernel = _kernel(Choice(kind="adaptive", smallest=2, largest=30))
    np.testing.assert_array_equal(kernel.bandwidths(pile), [2, 2, 2, 2])
    np.testing.assert_array_equal(kernel.bandwidths(far), [30, 30, 30, 30])


@pytest.mark.parametrize("people", [0, 1, 2, 3])
def test_adaptive_falls_back_where_dots_are_too_few(people: int) -> None:
    kernel = _kernel(Choice(kind="adaptive", fallback=7))
    np.testing.assert_array_equal(kernel.bandwidths(np.eye(4, 2)[:people]), [7] * people)


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        (Choice(kind="fixed", sigma=0), "sigma: Input should be greater than 0, not 0"),
        (Choice(kind="fixed", sigma=math.inf), "sigma: Input should be a finite number"),
        (Choice(kind="fixed", sigmas=4), "sigmas: there is no such option; allowed: sigma"),
        (Choice(kind="adaptive", smallest=50), "smallest: 50.0 is above largest: 40.0"),
    ],
)
def test_options_that_cannot_be_are_refused(choice: Choice, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        plugins.resolve("drawn map", choice, "maps.mine.kernel")


@pytest.mark.parametrize("kind", plugins.kinds("drawn map"))
@pytest.mark.parametrize("people", [0, 1, 2, 3, 500])
def test_every_kind_keeps_its_contract(kind: str, people: int) -> None:
    size = (97, 131)
    dots = np.repeat(scattered(people, size).numpy(), 2, axis=0)  # every dot twice
    sigmas = _kernel(Choice(kind=kind)).bandwidths(dots, np.full(len(dots), 20.0))
    assert sigmas.shape == (2 * people,)
    assert (sigmas > 0).all()
    assert total(draw(torch.from_numpy(dots), torch.from_numpy(sigmas), size)) == pytest.approx(2 * people, abs=1e-4)


@pytest.mark.real
@pytest.mark.parametrize("kind", plugins.kinds("drawn map"))
def test_maps_of_real_photographs_sum_to_their_counts(real: Path, kind: str) -> None:
    folder = real / "shanghaitech/part_B/train_data"
    for number in (1, 2, 3, 200, 400):
        with Image.open(folder / f"images/IMG_{number}.jpg") as image:
            width, height = image.size
        info = loadmat(folder / f"ground-truth/GT_IMG_{number}.mat")["image_info"][0, 0][0, 0]
        dots = info["location"].clip(0, [width, height])
        sigmas = _kernel(Choice(kind=kind)).bandwidths(dots, np.full(len(dots), 20.0))
        drawn = draw(torch.from_numpy(dots), torch.from_numpy(sigmas), (height, width))
        assert total(drawn) == pytest.approx(int(info["number"].item()), abs=1e-4)


def _kernel(choice: Choice):
    return plugins.build("drawn map", choice.kind, plugins.resolve("drawn map", choice, "maps.mine.kernel"))


def test_perspective_bandwidths_follow_the_map_within_their_bounds() -> None:
    kernel = _kernel(Choice(kind="perspective", factor=0.2, smallest=2, largest=10))
    np.testing.assert_allclose(kernel.bandwidths(np.zeros((4, 2)), np.array([0, 5, 20, 100])), [2, 2, 4, 10])


def test_perspective_without_a_map_says_what_to_choose() -> None:
    with pytest.raises(ValueError, match="choose adaptive or fixed"):
        _kernel(Choice(kind="perspective")).bandwidths(np.zeros((1, 2)))


def test_within_a_region_every_dot_weighs_1_and_nothing_lies_outside() -> None:
    """Against the sum over pixels: a region of whole cells, the right half of the image."""
    dots, sigmas = torch.tensor([[33.0, 20.0], [60.0, 5.0], [60.0, 5.0]]).double(), torch.tensor([6.0, 3.0, 3.0])
    region = np.zeros((8, 16), np.float32)
    region[:, 8:] = 1
    drawn = draw_within(dots, sigmas.double(), (32, 64), torch.from_numpy(region))
    fine = torch.stack([draw(dots[[i]], sigmas[[i]], (32, 64), side=1) for i in range(3)])
    fine[:, :, :32] = 0
    expected = (fine / fine.sum(dim=(1, 2), keepdim=True)).sum(dim=0)
    assert drawn.sum().item() == pytest.approx(3, abs=1e-6)
    assert drawn[:, :8].abs().max() == 0
    np.testing.assert_allclose(drawn, block_sum(expected.numpy(), 4), atol=1e-6)
