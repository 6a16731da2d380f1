"""The generator tile by tile against its networks on the whole image: maps, and the gradients of every weight."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.density_maps.learned.shared import tiles
from components.density_maps.learned.shared.fusion import attention, fusion
from components.networks import initialise


def networks(pools: int) -> nn.ModuleDict:
    """With biases, so that they make something of zeros."""
    torch.manual_seed(0)
    nets = nn.ModuleDict({"attention": attention(5, 5), "fusion": fusion(5, pools)})
    return nets.double()


def blobs(height: int, width: int, *places: tuple[int, int]) -> Tensor:
    """(1, 5, height, width): zero but for squares of 9 pixels, cut off by the border."""
    maps = torch.zeros(1, 5, height, width, dtype=torch.float64)
    for row, column in places:
        maps[..., max(row - 4, 0) : row + 5, max(column - 4, 0) : column + 5] = torch.rand(5, 1, 1, dtype=torch.float64)
    return maps


def gradients(nets: nn.ModuleDict, maps: Tensor, weights: Tensor) -> dict[str, Tensor]:
    nets.zero_grad()
    (maps * weights).sum().backward()
    found = {name: weight.grad for name, weight in nets.named_parameters()}
    return {name: torch.zeros(()) if grad is None else grad.clone() for name, grad in found.items()}


@pytest.mark.parametrize(
    ("pools", "size", "places"),
    [
        (2, (264, 264), [(0, 0), (131, 140), (66, 260)]),  # most tiles are empty, inside and on every border
        (2, (200, 200), []),
        (2, (72, 136), [(40, 62), (71, 135)]),  # a last tile as small as it gets
        (3, (72, 136), [(40, 62), (71, 135)]),
        (2, (48, 40), [(20, 20)]),  # one tile
        (3, (48, 40), [(20, 20)]),
        (1, (264, 200), [(0, 0), (131, 140)]),
        (1, (66, 130), [(40, 62), (65, 129)]),
        (0, (264, 200), [(0, 0), (131, 140)]),
        (0, (65, 129), [(40, 62), (64, 128)]),
    ],
)
def test_maps_and_gradients_are_those_of_the_whole(pools: int, size: tuple[int, int], places: list) -> None:
    nets, blurred = networks(pools), blobs(*size, *places)
    whole = nets["fusion"](nets["attention"](blurred) * blurred)
    weights = torch.rand_like(whole)
    expected = gradients(nets, whole, weights)
    tiled = tiles.fuse(nets["fusion"], tiles.attend(nets["attention"], blurred, blurred))
    torch.testing.assert_close(tiled, whole)
    for name, gradient in gradients(nets, tiled, weights).items():
        torch.testing.assert_close(gradient.expand_as(expected[name]), expected[name], check_dtype=False, msg=name)


def test_the_gradient_reaches_the_blurred_maps_too() -> None:
    """Learned kernels need it."""
    nets, blurred = networks(2), blobs(136, 136, (60, 66), (10, 3)).requires_grad_()
    (nets["fusion"](nets["attention"](blurred) * blurred)).square().sum().backward()
    expected, blurred.grad = blurred.grad, None
    tiles.fuse(nets["fusion"], tiles.attend(nets["attention"], blurred, blurred)).square().sum().backward()
    occupied = blurred.detach().any(dim=1, keepdim=True)
    torch.testing.assert_close(blurred.grad * occupied, expected * occupied)


def test_empty_tiles_are_made_once_each() -> None:
    """Inside, on four borders and in four corners: nine of 25, whatever the size of the image."""
    grid = tiles.tile_grid(torch.zeros(1, 5, 320, 320))
    assert len({tile.key for row in grid for tile in row}) == 9
    assert sum(len(row) for row in grid) == 25


def test_bf16_makes_the_same_maps_to_rounding() -> None:
    """Of nets as they are after a warm-up: maps within 1 %, counts too, and gradients of a joint step's loss."""
    torch.manual_seed(0)
    nets, blurred = networks(2).float(), blobs(72, 72, (60, 66), (10, 3)).float()
    initialise(nets, "he")
    goal = functional.avg_pool2d(blurred[:, 2:3], 4)
    optimiser = torch.optim.Adam(nets.parameters(), lr=1e-3)
    made, found = {}, {}
    for _ in range(20):
        optimiser.zero_grad()
        (_made(nets, blurred, bf16=False) - goal).square().sum().backward()
        optimiser.step()
    for bf16 in (False, True):
        made[bf16] = _made(nets, blurred, bf16=bf16)
        found[bf16] = gradients(nets, (made[bf16] - goal).square(), torch.ones(()))
    assert made[True].dtype == torch.float32
    assert 0 < (made[True] - made[False]).norm() < 0.01 * made[False].norm()
    torch.testing.assert_close(made[True].sum(), made[False].sum(), rtol=0.01, atol=0)
    for name, expected in found[False].items():
        assert torch.cosine_similarity(found[True][name].flatten(), expected.flatten(), dim=0) > 0.99, name


def _made(nets: nn.ModuleDict, blurred: Tensor, *, bf16: bool) -> Tensor:
    return tiles.fuse(nets["fusion"], tiles.attend(nets["attention"], blurred, blurred, bf16=bf16), bf16=bf16)
