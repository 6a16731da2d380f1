"""Refinement losses, equations (3) and (7), the generator, (4) to (6), and the ablations of tables 4 and 5."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve as convolved
from scipy.ndimage import gaussian_filter
from torch import nn

from components.crowd import Window, block_sum, dot_map
from components.density_maps.gaussian import draw
from components.density_maps.learned.generated import hard_normalised
from components.density_maps.learned.shared.blur_kernels import convolve
from components.errors import UserError
from components.losses.shared.local_count import local_count
from tests.density_maps.test_learned import STRIDES, density_map, full_crops


def features(layers: nn.Sequential) -> list[int]:
    return [layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)]


def test_blurred_maps_are_gaussian_filters_of_the_dot_map() -> None:
    """Equation (4), away from the border, against scipy's sampled kernel of a wide bandwidth."""
    maps = density_map("generated")
    [one] = full_crops((96, 96), 4)
    dots = np.zeros((96, 96))
    dots[48, 40] = 1
    one = replace(one, dots=torch.tensor([[40.5, 48.5]], dtype=torch.float64))
    drawn = maps.blurred(one)
    assert drawn.shape == (5, 96, 96)
    np.testing.assert_allclose(drawn[3].numpy(), gaussian_filter(dots, 8, truncate=6), atol=5e-6)
    np.testing.assert_allclose(drawn.sum(dim=(1, 2)).numpy(), 1, atol=1e-5)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("resolution", ["half", "grid"])
@pytest.mark.parametrize("size", [(64, 96), (61, 93)])
def test_on_a_coarser_grid_blurred_maps_are_block_sums_of_those_on_pixels(
    stride: int, resolution: str, size: tuple[int, int]
) -> None:
    """So they sum to the number of people, and bandwidths are in pixels."""
    fine, coarse = (density_map("generated", stride, resolution=each) for each in ("pixels", resolution))
    [one] = full_crops(size, stride)
    cell = {"half": 2, "grid": stride}[resolution]
    expected = np.stack([block_sum(each.numpy(), cell) for each in fine.blurred(one)])
    np.testing.assert_allclose(coarse.blurred(one).numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(expected.sum(axis=(1, 2)), 30, rtol=1e-4)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("resolution", ["half", "grid"])
def test_on_a_coarser_grid_the_networks_see_densities_of_the_same_order(stride: int, resolution: str) -> None:
    """A crowd so even that far from the border its density is the same everywhere, 1/4 person per pixel: there the
    networks make the same of it on every grid."""
    steps = torch.arange(96, dtype=torch.float64) * 2 + 1
    dots = torch.cartesian_prod(steps, steps)
    [one] = full_crops((192, 192), stride)
    inside = 96 // stride
    made = []
    for each in ("pixels", resolution):
        torch.manual_seed(0)
        maps = density_map("generated", stride, sigmas=[4, 8], resolution=each)
        made.append(maps([replace(one, dots=dots)])[0, 0, inside, inside].item())
    assert made[1] == pytest.approx(made[0], rel=1e-3)


def test_naive_fusion_on_a_coarser_grid_is_that_on_pixels() -> None:
    """Block sums of the mean of the blurred maps, on whatever cells these were drawn."""
    [one] = full_crops((61, 93), 8)
    pixels, half, grid = (
        density_map("generated", 8, fusion="naive", resolution=each)([one]) for each in ("pixels", "half", "grid")
    )
    torch.testing.assert_close(half, pixels, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(grid, pixels, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("stride", "resolution", "pools"), [(4, "half", 1), (8, "half", 2), (4, "grid", 0), (8, "grid", 0)]
)
def test_the_fusion_has_a_pooling_for_each_halving_that_is_left(stride: int, resolution: str, pools: int) -> None:
    generator = density_map("generated", stride, resolution=resolution)
    assert sum(isinstance(layer, nn.AvgPool2d) for layer in generator.fusion) == pools
    assert features(generator.fusion) == [128, 32, 8, 1]


def test_learned_kernels_on_a_coarser_grid_are_refused() -> None:
    with pytest.raises(UserError, match=r"resolution: learned kernels blur .* on pixels, not grid; write pixels"):
        density_map("generated", kernels="learned", resolution="grid")


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
    maps = density_map("refined", alpha=2.5)
    [one] = full_crops((64, 64), 4)
    made = torch.rand(1, 1, 16, 16)
    expected = 2.5 * ((made - 40 * one.annotation) ** 2).sum()
    torch.testing.assert_close(maps.refinement_loss(made, [one]), expected[None])


def test_refinement_loss_of_equation_7_on_a_whole_image_counts_the_dots() -> None:
    maps = density_map("generated", beta=0.5)
    [one] = full_crops((64, 64), 4, people=30)
    made = torch.full((1, 1, 16, 16), 40 * 25 / 256)  # 25 people
    torch.testing.assert_close(maps.refinement_loss(made, [one]), torch.tensor([0.5 * 5**2]), rtol=1e-3, atol=0)


def test_a_generator_for_another_stride_is_refused() -> None:
    with pytest.raises(ValueError, match="stride 4 or 8, not 16"):
        density_map("generated", stride=16)


def test_no_dots_make_a_map_all_the_same() -> None:
    maps = density_map("generated")
    made = maps(full_crops((64, 64), 4, people=0))
    assert torch.isfinite(made).all()


def test_learned_kernels_start_as_the_gaussians() -> None:
    """Dots in the middle of their pixels, away from the border; the filters end at three sigmas of the widest."""
    fixed, learned = (density_map("generated", kernels=kernels, sigmas=[1, 4]) for kernels in ("fixed", "learned"))
    [one] = full_crops((64, 64), 4)
    one = replace(one, dots=torch.tensor([[30.5, 28.5], [30.5, 28.5], [40.5, 33.5]], dtype=torch.float64))
    drawn, filtered = fixed.blurred(one), learned.blurred(one)
    torch.testing.assert_close(filtered.sum(dim=(1, 2)), torch.full((2,), 3.0))
    torch.testing.assert_close(filtered, drawn, rtol=0, atol=0.01 * float(drawn[1].max()))


def test_learned_kernels_are_a_convolution() -> None:
    """Against scipy's, with filters that are not symmetric."""
    plane, kernels = torch.rand(20, 23), torch.rand(2, 7, 7)
    expected = [convolved(plane.numpy(), kernel.numpy(), mode="constant")[3:-3, 3:-3] for kernel in kernels]
    np.testing.assert_allclose(convolve(plane, kernels).numpy(), expected, rtol=1e-4)


def test_a_dot_map_adds_coinciding_dots_and_keeps_those_on_the_far_edge() -> None:
    dots = torch.tensor([[1.2, 2.9], [1.7, 2.0], [8, 6], [0, 0]], dtype=torch.float64)
    made = dot_map(dots, (6, 8), Window(1, -2, 10, 10))
    assert {tuple(place): made[tuple(place)].item() for place in made.nonzero().tolist()} == {(1, 3): 2, (4, 9): 1}


def test_naive_fusion_is_the_mean_of_the_fixed_maps_and_keeps_their_people() -> None:
    maps = density_map("generated", fusion="naive")
    [one] = full_crops((64, 64), 4, people=30)
    made = maps([one])[0, 0] / 40
    expected = sum(draw(one.dots, sigma, (64, 64), side=4) for sigma in (1, 2, 4, 8, 16)) / 5
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)
    assert made.sum().item() == pytest.approx(30, rel=1e-5)


def test_image_attention_looks_at_the_photograph_and_self_attention_does_not() -> None:
    [one] = full_crops((64, 64), 4)
    other = replace(one, image=255 - one.image)
    for fusion, same in (("image_attention", False), ("self_attention", True)):
        maps = density_map("generated", fusion=fusion)
        assert torch.equal(maps([one]), maps([other])) == same


def test_direct_fusion_is_the_network_on_the_blurred_maps() -> None:
    maps = density_map("generated", fusion="direct")
    [one] = full_crops((64, 64), 4)
    expected = maps.fusion(100 * maps.blurred(one)[None])
    torch.testing.assert_close(maps([one]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", STRIDES)
def test_the_local_loss_is_the_mean_squared_count_error_of_patches(stride: int) -> None:
    """Patch by patch; the last ones are cut off."""
    maps = density_map("generated", stride, refinement="local", patch=24, beta=0.5)
    [one] = full_crops((64, 80), stride)
    made = torch.rand(1, 1, 64 // stride, 80 // stride)
    gap, side = (made / 40)[0, 0] - one.annotation, 24 // stride
    errors = [patch.sum() ** 2 for rows in gap.split(side) for patch in rows.split(side, dim=1)]
    assert len(errors) == 3 * 4
    torch.testing.assert_close(maps.refinement_loss(made, [one]), 0.5 * torch.stack(errors).mean()[None])


def test_one_patch_as_large_as_the_map_makes_the_local_loss_global() -> None:
    made, drawn = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(local_count(made, drawn, 8), (made - drawn).sum(dim=(1, 2, 3)) ** 2)


@pytest.mark.parametrize("people", [0, 30])
def test_a_hard_normalised_map_has_exactly_its_people_and_no_second_loss(people: int) -> None:
    maps = density_map("generated", refinement="hard_norm")
    [one] = full_crops((64, 96), 4, people=people)
    made = maps([one])
    assert made.sum().item() / 40 == pytest.approx(people, rel=1e-5)
    assert maps.refinement_loss(made, [one]).tolist() == [0]


def test_hard_normalisation_of_maps_whose_sums_no_factor_brings_to_the_count() -> None:
    """Already positive: scaled. A sum below zero, and zero everywhere: the count all the same, with a gradient."""
    positive = torch.rand(1, 1, 4, 4) + 1
    torch.testing.assert_close(hard_normalised(positive, torch.tensor([7.0])), 7 * positive / positive.sum())
    torch.testing.assert_close(
        hard_normalised(torch.zeros(1, 1, 2, 2), torch.tensor([6.0])), torch.full((1, 1, 2, 2), 1.5)
    )
    negative = (-positive).requires_grad_()
    made = hard_normalised(negative, torch.tensor([7.0]))
    assert made.sum().item() == pytest.approx(7)
    made.square().sum().backward()
    assert negative.grad.all()


def test_patches_that_cut_cells_are_refused() -> None:
    with pytest.raises(ValueError, match=r"patch: .* multiple of 8, not 12"):
        density_map("generated", refinement="local", patch=12)
