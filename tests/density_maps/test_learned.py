"""Every kind of learned map: cutting against the whole image, and gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from components.config import plugins
from components.config.options import Choice
from components.crowd import Crop, DensityMap, Window
from components.density_maps.crops import cut, full_window, with_margin
from components.density_maps.gaussian import draw
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
    {"resolution": "half"},
    {"resolution": "grid"},
    {"resolution": "half", "fusion": "naive"},
    {"resolution": "grid", "fusion": "image_attention"},
    {"resolution": "grid", "fusion": "direct", "refinement": "hard_norm"},
]
EVERY = [(kind, {}) for kind in plugins.kinds("density map")] + [("generated", each) for each in VARIANTS]


def named(value: object) -> str | None:
    return "-".join(value.values()) or "default" if isinstance(value, dict) else None


def density_map(kind: str, stride: int = 4, preset: str = "stable", scale: float = 40.0, **options: object):
    """In fp32, whatever the processor has."""
    small = SMALL.get(kind, {})
    resolved = plugins.resolve("density map", Choice(kind=kind, **(small | options)), "test", preset)
    return plugins.build("density map", kind, resolved, stride=stride, scale=scale)


def crops(size: tuple[int, int], windows: list[Window], stride: int, people: int = 30) -> list[Crop]:
    """The same made image several times, seen through different windows."""
    source = torch.Generator().manual_seed(7)
    dots = torch.rand(people, 2, dtype=torch.float64, generator=source) * torch.tensor([size[1], size[0]])
    annotation = draw(dots, 4.0, size, side=stride)
    image = np.random.default_rng(7).integers(0, 256, (*size, 3), dtype=np.uint8)
    return [Crop(0, window, size, dots, annotation, image=image) for window in windows]


def full_crops(size: tuple[int, int], stride: int, people: int = 30) -> list[Crop]:
    return crops(size, [full_window(size, stride)], stride, people)


def earlier_run(folder: Path, stride: int, kind: str = "generated", **training: object) -> DensityMap:
    """Write the files of a run that trained a map for a counter of `stride`; the map."""
    plan = crowds.plan({"kind": kind} | SMALL.get(kind, {}), **training)
    scale = plan.training.target_scale or {4: 40.0, 8: 10.0}[stride]
    maps = density_map(kind, stride, scale=scale)
    weights = {f"density_map.{name}": value for name, value in maps.state_dict().items()}
    crowds.save_weights(folder, plan, weights, stride, scale)
    return maps


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
    maps, full = density_map(kind, stride, **options), full_window(size, stride)
    corners = [(0, 0), (48, 56), (0, 64), (full.height - 32, full.width - 48)]
    windows = [Window(*corner, 32, 48) for corner in corners]
    with torch.no_grad():
        of_whole = maps(full_crops(size, stride))[0]
        of_crops = maps(crops(size, windows, stride))
    assert of_whole.shape == (1, full.height // stride, full.width // stride)
    for made, window in zip(of_crops, windows, strict=True):
        torch.testing.assert_close(made, cut(of_whole, window, full, stride), rtol=1e-4, atol=1e-4)


def test_a_crop_without_its_margin_is_another_map() -> None:
    """The test above can fail: zero padding at the cut changes what the generator makes."""
    maps, window = density_map("generated"), Window(48, 56, 32, 48)
    [crop] = crops((128, 160), [window], 4)
    with torch.no_grad():
        right = maps([crop])[0]
        padded = maps.fuse(maps.blurred(crop)[None])[0]
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
    maps = density_map(kind, stride, **options)
    made, weights = maps(full_crops((64, 64), stride)), dict(maps.named_parameters())
    assert made.requires_grad == bool(weights) == (options.get("fusion") != "naive" or "kernels" in options)
    if weights:
        made.square().sum().backward()
    slopes = {f"{name}.weight" for name, layer in maps.named_modules() if isinstance(layer, nn.PReLU)}  # cells below 0
    assert [name for name, weight in weights.items() if not weight.grad.any() and name not in slopes] == []
