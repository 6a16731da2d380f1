"""The loop: what it updates, and what it keeps."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from components.training.assemble import assemble, samples
from components.training.epoch import Communicator, sum_gradients, train_step
from components.training.optimisers import build_optimisers, set_learning_rates
from components.training.samples import WARM_UP
from tests import crowds
from tests.training.trainings import GENERATED, REFINED, same, trained

NAIVE = {"kind": "generated", "fusion": "naive", "sigmas": [1, 4]}


def test_another_seed_is_another_run(made) -> None:
    plan = crowds.plan(epochs=1)
    assert not same(trained(made, plan, seed=0)[0].state_dict(), trained(made, plan, seed=1)[0].state_dict())


def test_one_seed_starts_the_same_counter_and_sees_the_same_samples_whatever_the_map(made) -> None:
    plain, learned = (crowds.plan(density_map, crop=[32, 32]) for density_map in ({"kind": "identity"}, GENERATED))
    assert same(assemble(plain, 3).counter.state_dict(), assemble(learned, 3).counter.state_dict())
    first, second = (samples(plan, 3, made, 4)[0] for plan in (plain, learned))
    list(zip(range(5), second.endless(2, WARM_UP), strict=False))
    pairs = zip(first.batches(1, 2), second.batches(1, 2), strict=True)
    assert all(
        torch.equal(a.images, b.images) and [each.window for each in a.crops] == [each.window for each in b.crops]
        for (a, _), (b, _) in pairs
    )


def test_frozen_maps_are_the_generators_own_and_made_once(made) -> None:
    plan = crowds.plan(GENERATED, crop=[32, 48])
    model = assemble(plan, 0)
    calls: list[int] = []
    model.density_map.register_forward_pre_hook(lambda *_: calls.append(1))
    training = samples(plan, 0, made, 4)[0]
    for epoch in (1, 2):
        for batch, _ in training.batches(epoch, 2):
            frozen = model(batch, learn_maps=False)
            assert len(calls) <= 5
            calls_before = len(calls)
            fresh = model(batch, learn_maps=True)
            del calls[calls_before:]
            torch.testing.assert_close(frozen.counting, fresh.counting, rtol=1e-3, atol=1e-3)
    assert len(calls) == 5


def test_the_generator_is_updated_in_every_ngth_epoch_alone(made) -> None:
    plan = crowds.plan(GENERATED, epochs=4)
    _, states = trained(made, plan)
    maps = [{k: v for k, v in state["model"].items() if k.startswith("density_map")} for state in states]
    assert same(maps[1], maps[2])
    assert not same(maps[0], maps[1])
    assert not same(maps[2], maps[3])


@pytest.mark.parametrize("kind", ["naive", "frozen"])
def test_maps_that_do_not_learn_stay_what_they_are(made, tmp_path, kind: str) -> None:
    """Table 5's naive fusion, and table 6's generator of an earlier run."""
    earlier, states = trained(made, crowds.plan(GENERATED, epochs=1))
    crowds.save_weights(tmp_path, crowds.plan(GENERATED), states[-1]["model"], 4, 40.0)
    plan = crowds.plan({"naive": NAIVE, "frozen": {"kind": "frozen", "run": str(tmp_path)}}[kind], epochs=2)
    model, states = trained(made, plan)
    assert not model.learns_maps
    assert list(states[-1]["optimisers"]) == ["counter"]
    assert states[-1]["history"][-1]["refinement_loss"] == pytest.approx(0, abs=1e-4)
    weights = {name: value for name, value in model.state_dict().items() if name.startswith("density_map.")}
    learned = earlier.density_map.state_dict() if kind == "frozen" else {}
    assert same(weights, {f"density_map.generator.{name}": value for name, value in learned.items()})


def test_a_frozen_generators_maps_are_made_once_for_each_image(made, tmp_path) -> None:
    _, states = trained(made, crowds.plan(GENERATED, epochs=1))
    crowds.save_weights(tmp_path, crowds.plan(GENERATED), states[-1]["model"], 4, 40.0)
    plan, calls = crowds.plan({"kind": "frozen", "run": str(tmp_path)}, crop=[32, 48]), []
    model = assemble(plan, 0)
    model.density_map.register_forward_pre_hook(lambda *_: calls.append(1))
    for epoch in (1, 2):
        for batch, _ in samples(plan, 0, made, 4)[0].batches(epoch, 2):
            model(batch, learn_maps=False)
    assert len(calls) == 5


def test_image_attention_trains_and_its_maps_can_be_shown(made) -> None:
    plan = crowds.plan(GENERATED | {"fusion": "image_attention"}, epochs=2, crop=[32, 48])
    model, _ = trained(made, plan)
    row, image = made.prepared.rows[0], made.prepared.images[0]
    shown = model.target_map(row.dots, (row.height, row.width), made.maps[0], image)
    assert shown.shape == (12, 16)
    assert np.isfinite(shown).all()


def test_one_backward_gives_the_gradients_of_both_algorithms(made) -> None:
    """Algorithm 2: the counter follows the counting loss alone; the generator both losses of equation (7)."""
    plan = crowds.plan(GENERATED)
    batch = next(samples(plan, 0, made, 4)[0].batches(1, 2))[0]
    model = assemble(plan, 0)
    losses = model(batch, learn_maps=True)
    (losses.counting + losses.refinement).sum().backward()
    both = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    model(batch, learn_maps=True).counting.sum().backward()
    for name, weight in model.counter.named_parameters():
        torch.testing.assert_close(both[f"counter.{name}"], weight.grad)
    model.zero_grad()
    model(batch, learn_maps=True).refinement.sum().backward()
    assert all(weight.grad is None or not weight.grad.any() for weight in model.counter.parameters())
    assert any(weight.grad.any() for weight in model.density_map.parameters())


class TwoHalves(Communicator):
    """Adds up what the two halves of a batch gave, as two workers would."""

    def __init__(self) -> None:
        self.other: list[torch.Tensor] = []

    def all_reduce_(self, tensors: list[torch.Tensor]) -> None:
        for tensor, other in zip(tensors, self.other, strict=True):
            tensor += other


@pytest.mark.parametrize("workers", [2, 3])
def test_the_workers_gradients_add_up_to_those_of_the_whole_batch(made, workers: int) -> None:
    plan = crowds.plan(REFINED, crop=[32, 48], batch_size=2)
    model, training = assemble(plan, 0), samples(plan, 0, made, 4)[0]
    optimiser = torch.optim.SGD(model.parameters(), lr=1)

    def gradients(share) -> list[torch.Tensor]:
        optimiser.zero_grad()
        batch, images = share
        if batch is not None:
            losses = model(batch, learn_maps=True)
            ((losses.counting + losses.refinement).sum() / images).backward()
        sum_gradients([optimiser], Communicator())
        return [weight.grad.clone() for weight in model.parameters()]

    expected = gradients(next(training.batches(1, 2)))
    communicator = TwoHalves()
    parts = [gradients(next(training.batches(1, 2, rank=rank, workers=workers))) for rank in range(workers)]
    communicator.other = [sum(each) for each in zip(*parts[1:], strict=True)]
    communicator.all_reduce_(parts[0])
    for ours, theirs in zip(parts[0], expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()) + 1e-6)


def test_training_learns_to_count(made) -> None:
    plan = crowds.plan(epochs=25, schedule="constant")
    _, states = trained(made, plan)
    errors = [record["val_mae"] for record in states[-1]["history"]]
    assert min(errors) < 0.6 * errors[0]


def test_the_best_model_is_the_one_with_the_smallest_error_on_validation(made) -> None:
    _, states = trained(made, crowds.plan(epochs=4))
    history = states[-1]["history"]
    assert states[-1]["best"]["val_mae"] == min(record["val_mae"] for record in history)
    assert same(states[-1]["best"]["model"], states[states[-1]["best"]["epoch"] - 1]["model"])


@pytest.mark.parametrize("resolution", ["pixels", "grid"])
def test_warming_up_brings_the_map_towards_the_annotation_map(made, resolution: str) -> None:
    errors = []
    for steps in (0, 60):
        options = {"kind": "generated", "warm_up": steps, "warm_up_lr": 1e-3, "resolution": resolution}
        plan = crowds.plan(options, epochs=1)
        plan = plan.with_values({"density_map.update_every": 2}, "test")  # epoch 1 leaves the map as it was
        errors.append(trained(made, plan)[1][0]["history"][0]["map_sum_error"])
    assert errors[1] < 0.5 * errors[0]


def test_a_key_that_an_experiment_does_not_have_is_named() -> None:
    with pytest.raises(ValueError, match=r"made has no option 'density_map\.beta'"):
        crowds.plan().with_values({"density_map.beta": 1}, "searches.weights")


def test_the_schedule_ends_at_nothing(made) -> None:
    plan = crowds.plan(epochs=2, batch_size=5)
    _, states = trained(made, plan)
    rates = [state["optimisers"]["counter"]["param_groups"][0]["lr"] for state in states]
    initial = plan.counter.options.optimiser.lr
    assert rates == pytest.approx([initial, initial / 2])


def test_the_average_is_that_of_the_weights_after_each_step(made) -> None:
    """And it is what is validated, and kept as the best."""
    plan = crowds.plan(epochs=1, average=0.6)
    model = assemble(plan, 0)
    steps, training = [], samples(plan, 0, made, 4)[0]
    options = plan.training.model_copy(update={"average": None})
    optimisers = build_optimisers(model)
    for done, (batch, images) in enumerate(training.batches(1, options.batch_size)):
        set_learning_rates([optimisers["counter"]], options, done * options.batch_size / 5)
        train_step(model, [optimisers["counter"]], batch, images, False, Communicator())
        steps.append(model.counter.fuse.weight.detach().clone())
    expected = steps[0]
    for done, weights in enumerate(steps[1:], 1):
        decay = min(0.6, (1 + done) / (10 + done))
        expected = decay * expected + (1 - decay) * weights
    _, states = trained(made, plan)
    torch.testing.assert_close(states[-1]["best"]["model"]["counter.fuse.weight"], expected)
    torch.testing.assert_close(states[-1]["model"]["counter.fuse.weight"], steps[-1])
    validated = assemble(plan, 0)
    validated.load_state_dict(states[-1]["best"]["model"])
    rows = [made.prepared.rows[each.number] for each in samples(plan, 0, made, 4)[1].rows]
    errors = [abs(validated.predict_image(made.prepared.images[row.number]).sum() - len(row.dots)) for row in rows]
    assert states[-1]["best"]["val_mae"] == pytest.approx(np.mean(errors), rel=1e-4)


def test_without_epochs_the_given_weights_are_measured_and_kept(made) -> None:
    plan = crowds.plan(epochs=0)
    model, states = trained(made, plan)
    start = assemble(plan, 0)
    assert same(start.state_dict(), states[-1]["best"]["model"])
    [record] = states[-1]["history"]
    validation = samples(plan, 0, made, model.stride)[1]
    with torch.no_grad():
        errors = [
            abs(float(start.predict_image(made.prepared.images[row.number]).sum()) - len(row.dots))
            for row in made.prepared.split("val")
        ]
    assert record["val_mae"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert (record["epoch"], states[-1]["best"]["epoch"], len(validation)) == (0, 0, len(errors))
    assert trained(made, plan, state=deepcopy(states[-1]))[1] == [], "it is not done twice"
