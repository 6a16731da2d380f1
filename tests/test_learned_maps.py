"""Refiner and generator: equations (3) to (7) against other formulas, and cutting against the whole image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve as convolved
from scipy.ndimage import gaussian_filter
from torch import nn

from components import plugins
from components.crowd import Batch, DensityMap, Window, dot_map
from components.density_maps._gaussian import draw
from components.density_maps.learned._kernels import convolve
from components.density_maps.learned.generated import normalised
from components.density_maps.windows import cut, whole, with_margin
from components.losses.local_count import local_count
from components.options import Choice
from components.training import runs
from tests import crowds

STRIDES = (4, 8)
SMALL = {"refined": {"widths": [8, 8, 8]}, "generated": {"precision": "fp32"}, "kernel": {"precision": "fp32"}}
VARIANTS = [
    {"refinement": "hard_norm"},
    {"kernels": "learned"},
    {"fusion": "image_attention"},
    {"fusion": "direct"},
    {"fusion": "naive"},
    {"fusion": "naive", "kernels": "learned", "refinement": "hard_norm"},
]
EVERY = [(kind, {}) for kind in plugins.kinds("density map")] + [("generated", each) for each in VARIANTS]


def named(value: object) -> str | None:
    return "-".join(value.values()) or "default" if isinstance(value, dict) else None


def density_map(kind: str, stride: int = 4, preset: str = "stable", scale: float = 40.0, **options: object):
    """In fp32, whatever the processor has."""
    small = SMALL.get(kind, {})
    resolved = plugins.resolve("density map", Choice(kind=kind, **(small | options)), "test", preset)
    return plugins.build("density map", kind, resolved, stride=stride, scale=scale)


def batch(size: tuple[int, int], windows: list[Window], stride: int, people: int = 30) -> Batch:
    """The same made image several times, seen through different windows."""
    source = torch.Generator().manual_seed(7)
    dots = torch.rand(people, 2, dtype=torch.float64, generator=source) * torch.tensor([size[1], size[0]])
    annotation = draw(dots, 4.0, size, side=stride)
    photograph = np.random.default_rng(7).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Batch(
        images=torch.zeros(len(windows), 3, windows[0].height, windows[0].width, dtype=torch.uint8),
        flipped=torch.zeros(len(windows), dtype=torch.bool),
        numbers=[0] * len(windows),
        windows=windows,
        sizes=[size] * len(windows),
        dots=[dots] * len(windows),
        annotations=[annotation] * len(windows),
        photographs=[photograph] * len(windows),
    )


def earlier_run(folder: Path, stride: int, kind: str = "generated", **training: object) -> DensityMap:
    """Write the files of a run that trained a map for a counter of `stride`; the map."""
    plan = crowds.plan({"kind": kind} | SMALL.get(kind, {}), **training)
    scale = plan.training.target_scale or {4: 40.0, 8: 10.0}[stride]
    maps = density_map(kind, stride, scale=scale)
    weights = {f"density_map.{name}": value for name, value in maps.state_dict().items()}
    runs.save(folder, plan, {"history": [], "best": {"model": weights}, "model": weights}, {"stride": stride})
    return maps


def features(layers: nn.Sequential) -> list[int]:
    return [layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize(("kind", "options"), EVERY, ids=named)
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("size", [(128, 160), (131, 157)])
def test_what_is_made_for_a_crop_is_the_crop_of_the_whole(
    tmp_path: Path, kind: str, options: dict, stride: int, size: tuple[int, int]
) -> None:
    """In a corner, inside, along a border, and over the image's last cells."""
    if kind == "frozen":
        earlier_run(tmp_path, stride)
        options = {"run": str(tmp_path)}
    maps, full = density_map(kind, stride, **options), whole(size, stride)
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


@pytest.mark.parametrize(("kind", "options"), [(k, o) for k, o in EVERY if k in ("refined", "generated")], ids=named)
@pytest.mark.parametrize("stride", STRIDES)
def test_gradient_reaches_every_weight(kind: str, options: dict, stride: int) -> None:
    maps, full = density_map(kind, stride, **options), whole((64, 64), stride)
    made, weights = maps(batch((64, 64), [full], stride), [full]), dict(maps.named_parameters())
    assert made.requires_grad == bool(weights) == (options != {"fusion": "naive"})
    if weights:
        made.square().sum().backward()
    slopes = {f"{name}.weight" for name, layer in maps.named_modules() if isinstance(layer, nn.PReLU)}  # cells below 0
    assert [name for name, weight in weights.items() if not weight.grad.any() and name not in slopes] == []


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


def test_learned_kernels_start_as_the_gaussians() -> None:
    """Dots in the middle of their pixels, away from the border; the filters end at three sigmas of the widest."""
    fixed, learned = (density_map("generated", kernels=kernels, sigmas=[1, 4]) for kernels in ("fixed", "learned"))
    window = Window(0, 0, 64, 64)
    one = batch((64, 64), [window], 4)
    one = replace(one, dots=[torch.tensor([[30.5, 28.5], [30.5, 28.5], [40.5, 33.5]], dtype=torch.float64)])
    drawn, filtered = fixed.blurred(one, 0, window), learned.blurred(one, 0, window)
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
    maps, window = density_map("generated", fusion="naive"), Window(0, 0, 64, 64)
    one = batch((64, 64), [window], 4, people=30)
    made = maps(one, [window])[0, 0] / 40
    expected = sum(draw(one.dots[0], sigma, (64, 64), side=4) for sigma in (1, 2, 4, 8, 16)) / 5
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)
    assert made.sum().item() == pytest.approx(30, rel=1e-5)


def test_image_attention_looks_at_the_photograph_and_self_attention_does_not() -> None:
    window = Window(0, 0, 64, 64)
    one = batch((64, 64), [window], 4)
    other = replace(one, photographs=[255 - one.photographs[0]])
    for fusion, same in (("image_attention", False), ("self_attention", True)):
        maps = density_map("generated", fusion=fusion)
        assert torch.equal(maps(one, [window]), maps(other, [window])) == same


def test_direct_fusion_is_the_network_on_the_blurred_maps() -> None:
    maps, window = density_map("generated", fusion="direct"), Window(0, 0, 64, 64)
    one = batch((64, 64), [window], 4)
    expected = maps.fusion(100 * maps.blurred(one, 0, window)[None])
    torch.testing.assert_close(maps(one, [window]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", STRIDES)
def test_the_local_loss_is_the_mean_squared_count_error_of_patches(stride: int) -> None:
    """Patch by patch; the last ones are cut off."""
    maps = density_map("generated", stride, refinement="local", patch=24, beta=0.5)
    window = Window(0, 0, 64, 80)
    one = batch((64, 80), [window], stride)
    made = torch.rand(1, 1, 64 // stride, 80 // stride)
    gap, side = (made / 40)[0, 0] - one.annotations[0], 24 // stride
    errors = [patch.sum() ** 2 for rows in gap.split(side) for patch in rows.split(side, dim=1)]
    assert len(errors) == 3 * 4
    torch.testing.assert_close(maps.refinement_loss(made, one, [window]), 0.5 * torch.stack(errors).mean()[None])


def test_one_patch_as_large_as_the_map_makes_the_local_loss_global() -> None:
    made, drawn = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(local_count(made, drawn, 8), (made - drawn).sum(dim=(1, 2, 3)) ** 2)


@pytest.mark.parametrize("people", [0, 30])
def test_a_hard_normalised_map_has_exactly_its_people_and_no_second_loss(people: int) -> None:
    maps, full = density_map("generated", refinement="hard_norm"), Window(0, 0, 64, 96)
    one = batch((64, 96), [full], 4, people=people)
    made = maps(one, [full])
    assert made.sum().item() / 40 == pytest.approx(people, rel=1e-5)
    assert maps.refinement_loss(made, one, [full]).tolist() == [0]


def test_hard_normalisation_of_maps_whose_sums_no_factor_brings_to_the_count() -> None:
    """Already positive: scaled. A sum below zero, and zero everywhere: the count all the same, with a gradient."""
    positive = torch.rand(1, 1, 4, 4) + 1
    torch.testing.assert_close(normalised(positive, torch.tensor([7.0])), 7 * positive / positive.sum())
    torch.testing.assert_close(normalised(torch.zeros(1, 1, 2, 2), torch.tensor([6.0])), torch.full((1, 1, 2, 2), 1.5))
    negative = (-positive).requires_grad_()
    made = normalised(negative, torch.tensor([7.0]))
    assert made.sum().item() == pytest.approx(7)
    made.square().sum().backward()
    assert negative.grad.all()


def test_a_frozen_generator_makes_the_earlier_runs_maps_in_this_runs_scale(tmp_path: Path) -> None:
    earlier, full = earlier_run(tmp_path, 8, target_scale=5.0), Window(0, 0, 64, 64)
    frozen = density_map("frozen", 8, scale=10.0, run=str(tmp_path))
    one = batch((64, 64), [full], 8)
    torch.testing.assert_close(frozen(one, [full]), 2 * earlier(one, [full]))
    assert not frozen(one, [full]).requires_grad
    assert frozen.refinement_loss(frozen(one, [full]), one, [full]).tolist() == [0]


@pytest.mark.parametrize("size", [(64, 64), (60, 84)])
def test_a_frozen_generators_coarser_map_is_spread_and_keeps_its_people(tmp_path: Path, size: tuple[int, int]) -> None:
    """Of 60 x 84 px the last cells of 8 px reach over the last ones of 4."""
    earlier, coarse, fine = earlier_run(tmp_path, 8), whole(size, 8), whole(size, 4)
    frozen = density_map("frozen", 4, scale=40.0, run=str(tmp_path))
    people = earlier(batch(size, [coarse], 8), [coarse])[0, 0] / 10
    made = frozen(batch(size, [fine], 4), [fine])[0, 0] / 40
    assert made.shape == (fine.height // 4, fine.width // 4)
    assert made.sum().item() == pytest.approx(people.sum().item(), rel=1e-5)
    torch.testing.assert_close(made[4:6, 2:4], (people[2, 1] / 4).expand(2, 2))
    torch.testing.assert_close(made[-1, -1], people[-1, -1] / (1 if size[0] % 8 else 4))


def test_a_frozen_hard_normalised_map_has_its_people_at_another_stride_too(tmp_path: Path) -> None:
    plan = crowds.plan({"kind": "generated", "refinement": "hard_norm"})
    maps = density_map("generated", 8, scale=10.0, refinement="hard_norm")
    weights = {f"density_map.{name}": value for name, value in maps.state_dict().items()}
    runs.save(tmp_path, plan, {"history": [], "best": {"model": weights}, "model": weights}, {"stride": 8})
    frozen, full = density_map("frozen", 4, scale=40.0, run=str(tmp_path)), whole((60, 84), 4)
    assert frozen(batch((60, 84), [full], 4, people=30), [full]).sum().item() / 40 == pytest.approx(30, rel=1e-5)


def test_runs_that_cannot_be_frozen_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"density_map\.run: .* holds no finished run; train it first"):
        density_map("frozen", run=str(tmp_path))
    earlier_run(tmp_path, 4)
    with pytest.raises(ValueError, match=r"for a counter of stride 4, and this one's is 8; name a run"):
        density_map("frozen", 8, run=str(tmp_path))
    (tmp_path / "best.safetensors").write_bytes(b"cut off")
    with pytest.raises(ValueError, match=r"is damaged .* train it again"):
        density_map("frozen", 8, run=str(tmp_path))
    earlier_run(tmp_path, 4, kind="identity")
    with pytest.raises(ValueError, match=r"has maps of kind identity; name a run that trained a generator"):
        density_map("frozen", run=str(tmp_path))


def test_patches_that_cut_cells_are_refused() -> None:
    with pytest.raises(ValueError, match=r"patch: .* multiple of 8, not 12"):
        density_map("generated", refinement="local", patch=12)
