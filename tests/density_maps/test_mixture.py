"""Mixtures: what is drawn, what the shares see, and the gradient that comes through one step of the counter."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.optim import Adam

from components.config import plugins
from components.config.options import Choice
from components.crowd import Batch, Counter, Crop, Window
from components.density_maps.gaussian import draw
from components.density_maps.learned.mixture import features_at_dots, log_densities
from components.errors import UserError
from components.losses.shared.block_counts import block_counts
from components.networks import trainable
from components.training import bilevel
from components.training.assemble import assemble, open_data, samples
from components.training.fit import Communicator, fit, train_step
from components.training.joint import JointModel, flip, outputs_and_features
from components.training.optimisers import build_optimisers
from components.training.progress import describe_training
from components.training.samples import OUTER, TRAINING, WARM_UP
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


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("kind", plugins.kinds("counter"))
def test_the_derivative_of_every_counter_is_its_forward_mode_derivative(kind: str) -> None:
    counter = plugins.build("counter", kind, plugins.resolve("counter", Choice(kind=kind), "test")).double()
    for name, weight in counter.named_parameters():
        if name.endswith("bias"):  # with biases of 0, features are exactly 0 where a ReLU has no derivative
            nn.init.normal_(weight, std=0.1)
    images = torch.rand(1, 3, 16, 24, dtype=torch.float64)
    weights = {name: weight.detach() for name, weight in trainable(counter).items()}
    direction = {name: 1e3 * torch.randn_like(weight) for name, weight in weights.items()}
    made, along = bilevel.jvp_finite_difference(counter, images, list(direction.values()))
    expected = jvp(lambda moved: functional_call(counter, moved, (images,)), (weights,), (direction,))
    torch.testing.assert_close(made, expected[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(along, expected[1], rtol=1e-3, atol=1e-4 * float(expected[1].abs().max()))


@pytest.mark.parametrize("step", ["sgd", "adam"])
def test_the_workers_shares_of_looking_ahead_add_up(made, step: str) -> None:
    """Three workers, of whom one has no share of the outer batch."""
    model = model_in_doubles(crowds.plan(MIXTURE | {"inner": step}))
    optimiser = build_optimisers(model)["counter"]
    inner, outer = in_doubles(made, TRAINING), in_doubles(made, OUTER, size=2)
    losses = model(inner[0], learn_maps=True).counting
    (losses.sum() / 3).backward()
    weights, calls = [*model.density_map.parameters()], []

    def looked(index: slice | int, loss: Tensor, sum_) -> list[Tensor]:
        share = (inner[0] if isinstance(index, slice) else single(inner[0], index), 3)
        later = outer[0] if isinstance(index, slice) else single(outer[0], index) if index < 2 else None
        model.density_map.zero_grad()
        bilevel.bilevel_update(model, optimiser, share, (later, 2), loss, sum_)
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


SEEING = MIXTURE | {"features": "dots_and_counter"}


@pytest.mark.parametrize("kind", plugins.kinds("counter"))
def test_the_features_of_every_counter_are_what_its_last_layer_makes_the_map_of(kind: str) -> None:
    options = {} if kind in ("mcnn", "fcn") else {"weights": "random"}
    counter = plugins.build("counter", kind, plugins.resolve("counter", Choice(kind=kind, **options), "test"))
    with torch.no_grad():
        predicted, features = outputs_and_features(counter, torch.rand(2, 3, 20, 40))
        made = counter.last_layer()(features)
    assert torch.equal(predicted, made) or torch.equal(predicted, made.relu())  # some counters end with a ReLU
    assert features.shape[:2] == (2, counter.last_layer().in_channels)


def test_features_at_dots_are_those_of_their_cells_or_the_nearest_at_mean_0_and_variance_1() -> None:
    """A window of 2 x 3 cells at row 1, column 2; dots in it, beyond each of its sides, and on the image's corner."""
    features = torch.rand(5, 2, 3)
    dots = [[8.5, 4.5], [15.9, 11.9], [1, 1], [30, 5], [13, 40], [64, 64]]
    [one] = seen(dots)
    one = replace(one.at(Window(4, 8, 8, 12)), features=features)
    places = [(0, 0), (1, 1), (0, 0), (0, 2), (1, 1), (1, 2)]
    values = torch.stack([features[:, row, column] for row, column in places])
    spread = values.std(dim=1, correction=0, keepdim=True)
    expected = (values - values.mean(dim=1, keepdim=True)) / spread
    torch.testing.assert_close(features_at_dots(one, 4), expected, rtol=1e-3, atol=1e-3)
    assert features_at_dots(replace(one, dots=one.dots[:0]), 4).shape == (0, 5)


def test_the_map_reads_the_features_of_its_own_pass_as_the_image_lies(made) -> None:
    """Where a crop is mirrored, the counter's features are mirrored back; no gradient reaches the counter by them."""
    plan = crowds.plan(SEEING, crop=[32, 48], batch_size=4)
    model = assemble(plan, 0)
    [(batch, _)] = [*samples(plan, 0, made, 4)[0].batches(1, 4)][:1]
    assert 0 < sum(crop.flipped for crop in batch.crops) < 4
    calls: list[int] = []
    model.counter.register_forward_pre_hook(lambda *_: calls.append(1))
    read = model(batch, learn_maps=True).crops
    assert len(calls) == 1
    inputs = torch.cat([column(model.counter._inputs(batch.images / 255)) for column in model.counter.columns], dim=1)
    for crop, features, original in zip(read, inputs, batch.crops, strict=True):
        torch.testing.assert_close(crop.features, features.flip(-1) if crop.flipped else features)
        assert not crop.features.requires_grad
        assert original.features is None


def test_another_photograph_makes_another_map_of_the_same_dots(made) -> None:
    [one] = full_crops((64, 64), 4)
    other = replace(one, image=255 - one.image)
    for options, alike in ((MIXTURE, True), (SEEING, False)):
        model = assemble(crowds.plan(options), 0)
        nn.init.normal_(model.density_map.shares[2].weight, std=1)
        first, second = (model.target([each]) for each in (one, other))
        assert torch.equal(first, second) == alike
        assert first.sum().item() / 40 == pytest.approx(30, rel=1e-5)


def test_a_whole_image_is_seen_as_validation_sees_it(made) -> None:
    """Its map for pages and tables reads the features of the prediction for the same image."""
    model, row, image = assemble(crowds.plan(SEEING), 0), made.prepared.rows[0], made.prepared.images[0]
    nn.init.normal_(model.density_map.shares[2].weight, std=1)
    shown = model.target_map(row.dots, (row.height, row.width), made.maps[0], image)
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
    _, features = outputs_and_features(model.counter, pixels / 255)
    crop = replace(samples(crowds.plan(), 0, made, 4)[0].full_crop(0), features=features[0])
    torch.testing.assert_close(torch.from_numpy(shown), model.density_map([crop])[0, 0].detach() / 40)


@pytest.mark.parametrize(
    "options", [{}, {"update_every": 2}, {"inner": "adam", "warm_up": 1}, {"training": "joint"}], ids=str
)
def test_a_mixture_that_reads_features_trains_and_resumes_bit_for_bit(made, options: dict) -> None:
    plan = crowds.plan(SEEING | options, epochs=2, crop=[32, 48])
    whole, states = trained(made, plan)
    resumed, _ = trained(made, plan, state=deepcopy(states[0]))
    assert same(whole.state_dict(), resumed.state_dict())
    assert not same(assemble(plan, 0).density_map.state_dict(), whole.density_map.state_dict())


class Bare(Counter):
    """Its last layer is no convolution of its own."""

    stride = 4

    def __init__(self, params) -> None:
        super().__init__()
        self.params, self.layers = params, nn.Conv2d(3, 1, 4, stride=4)


def test_a_counter_without_features_and_one_without_adam_are_refused() -> None:
    model = assemble(crowds.plan(SEEING), 0)
    with pytest.raises(UserError, match=r"density_map\.features: this counter shows no features; write features: dots"):
        model.density_map.attach(Bare(model.counter.params))
    descending = {"kind": "mcnn", "optimiser": {"kind": "sgd", "lr": 1e-3}}
    with pytest.raises(
        UserError, match=r"density_map\.inner: adam, but the counter's optimiser is sgd; write inner: sgd"
    ):
        assemble(crowds.plan(MIXTURE | {"inner": "adam"}, counter=descending), 0)


@pytest.mark.parametrize(("shares", "expected"), [("equal", (0.5, 0.5)), ([0.3, 0.7], (0.3, 0.7)), ([0, 1], (0, 1))])
def test_given_shares_are_the_same_for_every_dot_and_learn_nothing(made, shares, expected: tuple) -> None:
    options = {"sigmas": [2, 8], "shares": shares}
    maps, [one] = density_map("mixture", **options), full_crops((64, 64), 4)
    drawn = sum(share * draw(one.dots, sigma, (64, 64)) for share, sigma in zip(expected, (2.0, 8.0), strict=True))
    torch.testing.assert_close(maps([one])[0, 0] / 40, drawn)
    model, states = trained(made, crowds.plan({"kind": "mixture"} | options, epochs=2))
    assert not model.learns_maps
    assert list(states[-1]["optimisers"]) == ["counter"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shares": [1]}, "there are 1 for 2 sigmas; write one for each"),
        ({"shares": [0.5, 0.6]}, r"\[0\.5, 0\.6\] sum to 1\.1; they must sum to 1"),
        ({"shares": [1.5, -0.5]}, "greater than or equal to 0"),
        ({"shares": "even"}, "'learned' or 'equal'"),
        ({"shares": "equal", "features": "dots_and_counter"}, "given shares look at nothing"),
    ],
)
def test_shares_that_are_none_are_refused(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        density_map("mixture", sigmas=[2, 8], **options)


def test_a_record_has_the_mean_shares_of_the_best_epoch_as_the_option_takes_them(made) -> None:
    """The map stays as it starts: the mean over all dots of the validation images."""
    model, states = trained(made, crowds.plan(MIXTURE | {"update_every": 9}, epochs=1))
    rows = made.prepared.split("val")
    weights = torch.cat([model.density_map.shares(log_densities(torch.from_numpy(row.dots))) for row in rows])
    found = describe_training(states[-1], made.prepared)["mean_shares"]
    assert found == pytest.approx(weights.mean(dim=0).tolist(), abs=1e-4)
    assert density_map("mixture", shares=found).weights(full_crops((64, 64), 4)[0])[0].sum().item() == pytest.approx(1)
    assert "mean_shares" not in describe_training(trained(made, crowds.plan(epochs=1))[1][-1], made.prepared)
