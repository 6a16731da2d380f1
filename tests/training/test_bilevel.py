"""Bilevel training: the gradient that comes through one step of the counter, and when it is followed."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Adam

from components.config import plugins
from components.config.options import Choice
from components.crowd import Batch, Counter
from components.losses.shared.block_counts import block_counts
from components.networks import trainable
from components.training import bilevel
from components.training.assemble import assemble, samples
from components.training.epoch import Communicator, train_step
from components.training.fit import fit
from components.training.joint import JointModel, Losses, flip, outputs_and_features
from components.training.optimisers import build_optimisers
from components.training.samples import OUTER, TRAINING, WARM_UP
from tests import crowds
from tests.density_maps.test_mixture import MIXTURE
from tests.training.trainings import same, trained


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

    def last_layer(self) -> nn.Conv2d:
        return self.layers[-1]

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.to(self.layers[-1].weight.dtype))


def model_in_doubles(plan) -> JointModel:
    """The plan's model with a tiny counter in float64, and its shares far from where they start."""
    model = assemble(plan, 0)
    model.counter = Tiny(model.counter.params)
    model.density_map.attach(model.counter)
    nn.init.normal_(model.density_map.shares[2].weight, std=0.3)
    return model


def in_doubles(made, stream: int, size: int = 3) -> tuple[Batch, int]:
    training = samples(crowds.plan(MIXTURE, crop=[32, 64]), 0, made, 4)[0]  # whole blocks of 8 cells
    drawn, images = next(training.batches(1, size, stream=stream))
    return replace(drawn, images=drawn.images.double()), images


def samples_in_doubles(made) -> Iterator[tuple[Batch, int]]:
    for drawn, images in samples(crowds.plan(MIXTURE, crop=[32, 64]), 0, made, 4)[0].endless(2, WARM_UP):
        yield replace(drawn, images=drawn.images.double()), images


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


def through_adams_step(model: JointModel, optimiser: Adam, inner: tuple[Batch, int], outer: tuple[Batch, int]) -> list:
    """dL_out in the map's weights, by differentiating through Adam's next step, which is written out: it is the one
    that the optimiser takes. Only the second moments are constants."""
    weights, (batch, images), (later, count) = dict(model.counter.named_parameters()), inner, outer
    predicted, features = outputs_and_features(model.counter, batch.images / 255)
    pairs = zip(batch.crops, flip(features, batch.crops), strict=True)
    maps = flip(model.density_map([replace(crop, features=each) for crop, each in pairs]), batch.crops)
    loss = model.loss(predicted, maps, batch.crops).sum() / images
    slopes = torch.autograd.grad(loss, [*weights.values()], create_graph=True)
    stepped, taken = {}, deepcopy(model.counter)
    for (name, weight), slope in zip(weights.items(), slopes, strict=True):
        state = optimiser.state[weight]
        k = state["step"].item() + 1
        first = (0.9 * state["exp_avg"] + 0.1 * slope) / (1 - 0.9**k)
        second = (0.999 * state["exp_avg_sq"] + 0.001 * slope.detach() ** 2) / (1 - 0.999**k)
        stepped[name] = weight - 3e-4 * first / (second.sqrt() + 1e-8)
        taken.get_parameter(name).grad = slope.detach()
    real = Adam(taken.parameters(), lr=3e-4)
    real.load_state_dict(deepcopy(optimiser.state_dict()))
    real.step()
    for name, weight in taken.named_parameters():
        torch.testing.assert_close(stepped[name], weight, rtol=1e-12, atol=1e-12)
    gap = functional_call(model.counter, stepped, (later.images / 255,)) - 40 * bilevel.batch_dot_counts(later.crops, 4)
    blocks = [side**2 * nn.functional.avg_pool2d(gap, side) for side in (2, 4, 8)]
    outer_loss = sum(each.square().sum() for each in blocks) / count
    return list(torch.autograd.grad(outer_loss, list(model.density_map.parameters())))


@pytest.mark.parametrize("features", ["dots", "dots_and_counter"])
def test_looking_through_adams_step_is_differentiating_it(made, features: str, monkeypatch) -> None:
    """After three real steps, so that both moments hold more than the gradient of this one."""
    model = model_in_doubles(crowds.plan(MIXTURE | {"inner": "adam", "features": features}))
    optimisers = build_optimisers(model)
    for _, (batch, images) in zip(range(3), samples_in_doubles(made), strict=False):
        train_step(model, [optimisers["counter"]], batch, images, True, Communicator())
    inner, outer = in_doubles(made, TRAINING), in_doubles(made, OUTER, size=2)
    expected = through_adams_step(model, optimisers["counter"], inner, outer)
    monkeypatch.setattr(Adam, "step", lambda _: None)
    train_step(model, [*optimisers.values()], *inner, True, Communicator(), outer)
    for weight, slope in zip(model.density_map.parameters(), expected, strict=True):
        assert slope.any()
        torch.testing.assert_close(weight.grad, slope, rtol=1e-4, atol=1e-5 * float(slope.abs().max()))


def test_a_weight_that_never_had_a_gradient_stays_where_adam_leaves_it() -> None:
    """And its direction, divided by nearly 0, would hide all others. Weight decay is part of a gradient."""
    weights = [nn.Parameter(torch.tensor([2.0, 0.0])), nn.Parameter(torch.tensor([3.0]))]
    optimiser = Adam(weights, lr=0.1, weight_decay=0.5)
    weights[0].grad, weights[1].grad = torch.tensor([4.0, 0.0]), torch.tensor([-1.5])
    steps, slopes = bilevel.adam_step(optimiser)
    assert [each.tolist() for each in steps] == [pytest.approx([0.1, 0]), [0]]
    assert slopes[0].tolist() == pytest.approx([0.1 / 5, 0])  # of a first step: the rate by the gradient's magnitude
    assert slopes[1].tolist() == [0]  # where decay and gradient are opposite


def test_for_squared_errors_the_gradient_in_the_map_is_2_eta_times_the_derivative_along_g() -> None:
    """One weight, written out: f = t x, L_in = (f - M)^2, L_out = (2 t' y)^2 in one block of 2 x 2 cells."""
    x, y, t, target = 3.0, 0.5, 0.7, torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    slope = 2 * (t * x - target.item()) * x
    eta = 0.1 * (t * x - target.item()) ** 2 / slope**2
    stepped = t - eta * 2 * (t * x - target) * x
    (stepped * y).square().backward()
    g = 2 * stepped.item() * y**2
    assert target.grad.item() == pytest.approx(2 * eta * x * g)


@torch.no_grad()
def derivative(network: nn.Module, images: Tensor, direction: list[Tensor]) -> Tensor:
    """Of a network in float64 along a direction of its weights, by central differences: no weight moves far."""
    named = {name: (weight, each) for (name, weight), each in zip(trainable(network).items(), direction, strict=True)}
    ratios = [float(weight.norm() / each.norm()) for weight, each in named.values() if weight.any() and each.any()]
    small = 1e-7 * min(ratios)
    ahead, behind = (
        functional_call(network, {name: weight + step * each for name, (weight, each) in named.items()}, (images,))
        for step in (small, -small)
    )
    return (ahead - behind) / (2 * small)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("kind", plugins.kinds("counter"))
def test_the_derivative_of_every_counter_is_right(kind: str) -> None:
    counter = plugins.build("counter", kind, plugins.resolve("counter", Choice(kind=kind), "test")).double()
    for name, weight in counter.named_parameters():
        if name.endswith("bias"):  # with biases of 0, features are exactly 0 where a ReLU has no derivative
            nn.init.normal_(weight, std=0.1)
    images = torch.rand(1, 3, 16, 24, dtype=torch.float64)
    direction = [1e3 * torch.randn_like(weight) for weight in trainable(counter).values()]
    along = bilevel.jvp_finite_difference(counter, images, counter(images).detach(), direction)
    expected = derivative(counter, images, direction)
    torch.testing.assert_close(along, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_the_derivative_is_right_in_float32_where_new_layers_follow_pretrained_ones() -> None:
    """The direction is that of a loss. A step in proportion to the norm of all weights would be too long."""
    torch.manual_seed(0)
    choice = Choice(kind="efficientnet_lite")
    counter = plugins.build("counter", "efficientnet_lite", plugins.resolve("counter", choice, "test"))
    counter.load_pretrained()
    images = torch.rand(1, 3, 64, 96)
    outputs = counter(images)
    direction = torch.autograd.grad((outputs.sum() - 20).square(), list(trainable(counter).values()))
    along = bilevel.jvp_finite_difference(counter, images, outputs.detach(), list(direction)).double()
    counter.double()
    expected = derivative(counter, images.double(), [each.double() for each in direction])
    assert float((along - expected).norm() / expected.norm()) < 0.1


@pytest.mark.parametrize("still", ["weights", "direction"])
def test_a_layer_that_stays_or_whose_weights_are_0_does_not_hide_the_others(still: str) -> None:
    layers = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 1, 1)).double()
    direction = [torch.ones_like(weight) for weight in layers.parameters()]
    if still == "weights":
        nn.init.zeros_(layers[1].weight)
    else:
        direction[2].zero_()
    images = torch.rand(1, 3, 4, 4, dtype=torch.float64)
    along = bilevel.jvp_finite_difference(layers, images, layers(images), direction)
    expected = derivative(layers, images, direction)
    torch.testing.assert_close(along, expected, rtol=1e-5, atol=1e-8)
    nothing = [torch.zeros_like(weight) for weight in layers.parameters()]
    assert not bilevel.jvp_finite_difference(layers, images, layers(images), nothing).any()


@pytest.mark.parametrize("step", ["sgd", "adam"])
def test_the_workers_shares_of_looking_ahead_add_up(made, step: str) -> None:
    """Three workers, of whom one has no share of the outer batch."""
    model = model_in_doubles(crowds.plan(MIXTURE | {"inner": step}))
    optimiser = build_optimisers(model)["counter"]
    inner, outer = in_doubles(made, TRAINING), in_doubles(made, OUTER, size=2)
    losses = model(inner[0], learn_maps=True)
    (losses.counting.sum() / 3).backward()
    weights, calls = [*model.density_map.parameters()], []

    def looked(index: slice | int, made_of: Losses, sum_) -> list[Tensor]:
        share = (inner[0] if isinstance(index, slice) else single(inner[0], index), 3)
        later = outer[0] if isinstance(index, slice) else single(outer[0], index) if index < 2 else None
        model.density_map.zero_grad()
        bilevel.bilevel_update(model, optimiser, share, (later, 2), made_of, sum_)
        return [weight.grad.clone() for weight in weights]

    def record(tensors: list[Tensor]) -> None:
        calls.append([tensor.clone() for tensor in tensors])

    def replay(tensors: list[Tensor]) -> None:
        for tensor, value in zip(tensors, calls[len(tensors) > 1], strict=True):
            tensor.copy_(value)

    expected = looked(slice(None), losses, record)
    parts = [looked(index, Losses(*(each[index : index + 1] for each in losses)), replay) for index in range(3)]
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
    assert len(taken) == 5 + 3 * 2  # five steps; in three of them, two passes more
    started = [taken[index] for index in (0, 3, 4, 7, 8)]  # at the beginning of each step
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
