"""Mixtures: what is drawn, what the shares see, and shares that are given."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from components.config import plugins
from components.config.options import Choice
from components.crowd import Counter, Crop, Window
from components.density_maps.gaussian import draw
from components.density_maps.learned.mixture import features_at_dots, log_densities
from components.errors import UserError
from components.training.assemble import assemble, samples
from components.training.joint import outputs_and_features
from components.training.progress import describe_training
from tests import crowds
from tests.density_maps.test_learned import density_map, full_crops
from tests.training.trainings import same, trained

MIXTURE = {"kind": "mixture", "every": 2}


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


def test_a_map_that_reads_features_follows_the_counter_in_epochs_in_which_it_does_not_learn(made) -> None:
    plan = crowds.plan(SEEING | {"training": "joint"})
    model = assemble(plan, 0)
    batch, _ = next(samples(plan, 0, made, 4)[0].batches(0, 1))
    with torch.no_grad():
        model.density_map.shares[0].weight.normal_()
        model.density_map.shares[2].weight.normal_()
        model(batch, learn_maps=False)
        next(model.counter.parameters()).add_(0.1)
        later = model(batch, learn_maps=False)
        model.clear_map_cache()
        assert torch.equal(later.counting, model(batch, learn_maps=False).counting)


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
