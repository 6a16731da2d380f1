"""Mixtures: what is drawn, what the shares see, and the gradient that comes through one step of the counter."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from components.config import plugins
from components.config.options import Choice
from components.crowd import Batch, Counter, Crop
from components.density_maps.gaussian import draw
from components.density_maps.learned.mixture import log_densities
from components.losses.shared.block_counts import block_counts
from components.training import bilevel
from components.training.assemble import assemble, open_data, samples
from components.training.fit import Communicator, fit, train_step
from components.training.joint import JointModel
from components.training.optimisers import build_optimisers
from components.training.samples import OUTER, TRAINING
from tests import crowds
from tests.density_maps.test_learned import density_map, full_crops
from tests.training.test_fit import same, trained

MIXTURE = {"kind": "mixture", "every": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return open_data(
        *crowds.write(tmp_path_factory.mktemp("made"), [(48, 64)] * 8, ["train"] * 5 + ["val"] * 2 + ["test"])
    )


def seen(dots: list[list[float]], size: tuple[int, int] = (64, 64)) -> list[Crop]:
    [one] = full_crops(size, 4)
    return [replace(one, dots=torch.tensor(dots, dtype=torch.float64).reshape(-1, 2))]


@pytest.mark.parametrize(
    "dots",
    [[], [[20, 30]], [[0, 0], [64, 64]], [[5, 5], [5, 5], [60, 1]], [[0.1, 63.9]] * 3 + [[32, 64]]],
    ids=["none", "one", "corners", "coinciding", "borders"],
)
def test_every_dot_weighs_one_whatever_its_shares(dots: list) -> None:
    maps = density_map("mixture")
    nn.init.normal_(maps.shares[0].weight, std=3)
    nn.init.normal_(maps.shares[2].weight, std=3)
    made = maps(seen(dots))
    assert made.sum().item() / 40 == pytest.approx(len(dots), rel=1e-6)
    made.square().sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in maps.parameters())


def test_a_map_is_the_sum_of_drawn_maps_with_the_shares_of_each_dot() -> None:
    maps, [one] = density_map("mixture", sigmas=[2, 8]), seen([[20, 30], [40, 41], [3, 60]])
    shares = maps.shares(log_densities(one.dots)).double()
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(3, dtype=torch.float64))
    expected = sum(
        share * draw(dot[None], sigma, (64, 64)).double()
        for dot, row in zip(one.dots, shares, strict=True)
        for share, sigma in zip(row, (2.0, 8.0), strict=True)
    )
    torch.testing.assert_close(maps([one])[0, 0] / 40, expected.float())


def test_drawing_with_weights_has_the_gradient_of_each_dots_own_map() -> None:
    dots, slopes = torch.rand(5, 2, dtype=torch.float64) * 32, torch.rand(8, 8)
    weights = torch.rand(5, requires_grad=True)
    (draw(dots, 3.0, (32, 32), weights=weights) * slopes).sum().backward()
    expected = [float((draw(dot[None], 3.0, (32, 32)) * slopes).sum()) for dot in dots]
    assert weights.grad.tolist() == pytest.approx(expected, rel=1e-5)


def test_densities_count_the_dots_around_each() -> None:
    """Two at one place, one 32 px away, and one out of sight."""
    dots = torch.tensor([[10, 10], [10, 10], [42, 10], [4000, 10]], dtype=torch.float64)
    near = [2 + torch.tensor(-(32**2) / (2 * scale**2)).exp() for scale in (128, 64, 32, 16)]
    made = log_densities(dots).exp()
    torch.testing.assert_close(made[0], torch.stack(near), rtol=1e-4, atol=0)
    torch.testing.assert_close(made[3], torch.ones(4))


def test_it_starts_near_the_fixed_map_of_4_px() -> None:
    maps, [one] = density_map("mixture"), full_crops((64, 64), 4)
    started, fixed = maps([one]) / 40, draw(one.dots, 4.0, (64, 64))
    assert (started - fixed).norm() < 0.1 * fixed.norm()


def test_block_counts_are_the_squares_of_sums_over_every_block() -> None:
    made, truth = torch.rand(2, 1, 7, 9), torch.rand(2, 1, 7, 9)
    gaps = made - truth
    blocks = [
        gaps[:, 0, top : top + side, left : left + side].sum(dim=(1, 2)) ** 2
        for side in (2, 4)
        for top in range(0, 7, side)
        for left in range(0, 9, side)
    ]
    torch.testing.assert_close(block_counts(made, truth, (2, 4)), torch.stack(blocks).sum(dim=0))


class Tiny(Counter):
    stride = 4

    def __init__(self, params) -> None:
        super().__init__()
        self.params, narrow, wide = params, nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
        self.layers = nn.Sequential(nn.AvgPool2d(4), narrow, nn.ReLU(), wide).double()

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def model_in_doubles(plan) -> JointModel:
    """The plan's model with a tiny counter in float64, and its shares far from where they start."""
    model = assemble(plan, 0)
    model.counter = Tiny(model.counter.params)
    nn.init.normal_(model.density_map.shares[2].weight, std=0.3)
    return model


def in_doubles(made, stream: int, size: int = 3) -> tuple[Batch, int]:
    training = samples(crowds.plan(MIXTURE, crop=[32, 64]), 0, made, 4)[0]  # whole blocks of 8 cells
    drawn, images = next(training.batches(1, size, stream=stream))
    return replace(drawn, images=drawn.images.double()), images


def single(batch: Batch, index: int) -> Batch:
    return Batch(batch.images[index : index + 1], [batch.crops[index]])


def through_the_step(model: JointModel, inner: tuple[Batch, int], outer: tuple[Batch, int]) -> list[Tensor]:
    """dL_out in the map's weights, by differentiating through the step of the counter, which is written out."""
    weights, (batch, images), (later, count) = dict(model.counter.named_parameters()), inner, outer
    maps = model.density_map(batch.crops)
    maps = torch.stack([each.flip(-1) if crop.flipped else each for each, crop in zip(maps, batch.crops, strict=True)])
    loss = model.loss(model.counter(batch.images / 255), maps, batch.crops).sum() / images
    slopes = torch.autograd.grad(loss, [*weights.values()], create_graph=True)
    eta = 0.1 * loss.item() / sum(slope.square().sum().item() for slope in slopes)
    stepped = {name: weight - eta * slope for (name, weight), slope in zip(weights.items(), slopes, strict=True)}
    gap = functional_call(model.counter, stepped, (later.images / 255,)) - 40 * bilevel.batch_dot_counts(later.crops, 4)
    blocks = [side**2 * nn.functional.avg_pool2d(gap, side) for side in (2, 4, 8)]
    outer_loss = sum(each.square().sum() for each in blocks) / count
    return list(torch.autograd.grad(outer_loss, list(model.density_map.parameters())))


@pytest.mark.parametrize("loss", [{"kind": "squared_error"}, {"kind": "squared_error", "cosine": 3000}], ids=str)
def test_looking_ahead_is_differentiating_through_the_step(made, loss: dict, monkeypatch) -> None:
    """With the loop's own mean over the batch, its target scale of 40, and mirrored crops."""
    model = model_in_doubles(crowds.plan(MIXTURE, loss=loss))
    inner, outer = in_doubles(made, TRAINING), in_doubles(made, OUTER, size=2)
    assert 0 < sum(crop.flipped for crop in inner[0].crops) < 3
    expected = through_the_step(model, inner, outer)
    monkeypatch.setattr(torch.optim.Adam, "step", lambda _: None)
    train_step(model, [*build_optimisers(model).values()], *inner, True, Communicator(), outer)
    for weight, slope in zip(model.density_map.parameters(), expected, strict=True):
        assert slope.any()
        torch.testing.assert_close(weight.grad, slope, rtol=1e-5, atol=1e-6 * float(slope.abs().max()))


def test_for_squared_errors_the_gradient_in_the_map_is_2_eta_times_the_derivative_along_g() -> None:
    """One weight, written out: f = t x, L_in = (f - M)^2, L_out = (2 t' y)^2 in one block of 2 x 2 cells."""
    x, y, t, target = 3.0, 0.5, 0.7, torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    slope = 2 * (t * x - target.item()) * x
    eta = 0.1 * (t * x - target.item()) ** 2 / slope**2
    stepped = t - eta * 2 * (t * x - target) * x
    (stepped * y).square().backward()
    g = 2 * stepped.item() * y**2
    assert target.grad.item() == pytest.approx(2 * eta * x * g)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("kind", plugins.kinds("counter"))
def test_the_derivative_of_every_counter_is_its_forward_mode_derivative(kind: str) -> None:
    counter = plugins.build("counter", kind, plugins.resolve("counter", Choice(kind=kind), "test")).double()
    images = torch.rand(1, 3, 16, 24, dtype=torch.float64)
    weights = {name: weight.detach() for name, weight in counter.named_parameters()}
    direction = {name: 1e3 * torch.randn_like(weight) for name, weight in weights.items()}
    made, along = bilevel.jvp_finite_difference(counter, images, list(direction.values()))
    expected = jvp(lambda moved: functional_call(counter, moved, (images,)), (weights,), (direction,))
    torch.testing.assert_close(made, expected[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(along, expected[1], rtol=1e-3, atol=1e-4 * float(expected[1].abs().max()))


def test_the_workers_shares_of_looking_ahead_add_up(made) -> None:
    """Three workers, of whom one has no share of the outer batch."""
    model = model_in_doubles(crowds.plan(MIXTURE))
    inner, outer = in_doubles(made, TRAINING), in_doubles(made, OUTER, size=2)
    losses = model(inner[0], learn_maps=True).counting
    (losses.sum() / 3).backward()
    weights, calls = [*model.density_map.parameters()], []

    def looked(index: slice | int, loss: Tensor, sum_) -> list[Tensor]:
        share = (inner[0] if isinstance(index, slice) else single(inner[0], index), 3)
        later = outer[0] if isinstance(index, slice) else single(outer[0], index) if index < 2 else None
        model.density_map.zero_grad()
        bilevel.bilevel_update(model, share, (later, 2), loss, sum_)
        return [weight.grad.clone() for weight in weights]

    def record(tensors: list[Tensor]) -> None:
        calls.append([tensor.clone() for tensor in tensors])

    def replay(tensors: list[Tensor]) -> None:
        for tensor, value in zip(tensors, calls[len(tensors) > 1], strict=True):
            tensor.copy_(value)

    expected = looked(slice(None), losses.sum().detach(), record)
    parts = [looked(index, losses[index].detach(), replay) for index in range(3)]
    for shares, whole in zip(zip(*parts, strict=True), expected, strict=True):
        torch.testing.assert_close(sum(shares), whole, rtol=1e-5, atol=1e-6 * float(whole.abs().max()))


def test_the_shares_change_in_every_second_step_and_not_between(made) -> None:
    plan = crowds.plan(MIXTURE, epochs=1, batch_size=1)
    model, taken = assemble(plan, 0), []
    model.counter.register_forward_pre_hook(
        lambda *_: taken.append(deepcopy(model.density_map.state_dict())) if model.counter.training else None
    )
    training, validation = samples(plan, 0, made, 4)
    fit(model, training, validation, plan.training, report=lambda *_: None)
    assert len(taken) == 5 + 3 * 3  # five steps; in three of them, three passes more
    started = [taken[index] for index in (0, 4, 5, 9, 10)]  # at the beginning of each step
    assert [not same(*pair) for pair in pairwise(started)] == [True, False, True, False]


def test_looking_ahead_leaves_the_counters_samples_and_the_frozen_epochs_alone(made) -> None:
    """One step an epoch, which looks ahead: the counter has learned from the map as it was before."""
    bilevel_plan, plain = (
        crowds.plan(each, epochs=1, batch_size=5) for each in (MIXTURE, MIXTURE | {"update_every": 2})
    )
    looked, frozen = (trained(made, plan)[1][-1]["model"] for plan in (bilevel_plan, plain))
    split = [{k: v for k, v in each.items() if k.startswith("counter.")} for each in (looked, frozen)]
    for name, weight in split[0].items():
        torch.testing.assert_close(weight, split[1][name], rtol=1e-4, atol=1e-6)
    assert not same(looked, frozen)


@pytest.mark.parametrize("training", ["joint", "bilevel"])
def test_a_resumed_mixture_ends_bit_for_bit_as_the_uninterrupted_one(made, training: str) -> None:
    plan = crowds.plan(MIXTURE | {"training": training}, epochs=2, crop=[32, 48])
    whole, states = trained(made, plan)
    resumed, _ = trained(made, plan, state=deepcopy(states[0]))
    assert same(whole.state_dict(), resumed.state_dict())
    assert not same(assemble(plan, 0).density_map.state_dict(), whole.density_map.state_dict())
