"""Losses and gradients that are not finite: steps that are skipped, the way back, and the end."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from components.training.assemble import assemble, samples
from components.training.epoch import Communicator, train_step
from components.training.fit import DivergedError, fit
from components.training.optimisers import build_optimisers
from tests import crowds
from tests.training.trainings import same, spoil, trained


def test_divergence_is_told_in_one_line(made) -> None:
    plan = crowds.plan(epochs=3).with_values({"counter.optimiser": {"kind": "sgd", "lr": 1e6}}, "test")
    with pytest.raises(ValueError, match=r"diverged.*counter\.optimiser\.lr"):
        trained(made, plan)


def stepped(made, plan, communicator: Communicator, spoilt: bool):
    """A model that made two steps, the second perhaps spoilt; what was trained before that one, and its losses."""
    model = assemble(plan, 0)
    model.counter.register_buffer("seen", torch.zeros(1))
    model.counter.register_forward_pre_hook(lambda module, _: module.seen.add_(1))
    optimisers = [build_optimisers(model)["counter"]]
    batches = samples(plan, 0, made, 4)[0].batches(1, 2)
    train_step(model, optimisers, *next(batches), False, Communicator())
    before = deepcopy([model.state_dict(), optimisers[0].state_dict()["state"][0]])
    if spoilt:
        spoil(model, {0})
    losses = train_step(model, optimisers, *next(batches), False, communicator)
    return [model.state_dict(), optimisers[0].state_dict()["state"][0]], before, losses


class SpoiltElsewhere(Communicator):
    """Adds what another worker has whose gradients are infinite."""

    def all_reduce_(self, tensors: list[torch.Tensor]) -> None:
        tensors[0].add_(float("inf"))


@pytest.mark.parametrize(
    ("communicator", "spoilt"), [(Communicator(), True), (SpoiltElsewhere(), False)], ids=["here", "elsewhere"]
)
def test_a_step_that_is_not_finite_on_any_worker_leaves_everything_as_it_was(made, communicator, spoilt: bool) -> None:
    after, before, losses = stepped(made, crowds.plan(), communicator, spoilt)
    assert losses is None
    assert all(same(ours, theirs) for ours, theirs in zip(after, before, strict=True))
    assert after[0]["counter.seen"] == 1  # as the running statistics of batch norm


def test_a_step_that_is_finite_changes_weights_and_buffers(made) -> None:
    after, before, losses = stepped(made, crowds.plan(), Communicator(), False)
    assert losses is not None
    assert not any(same(ours, theirs) for ours, theirs in zip(after, before, strict=True))


def spoilt_fit(made, plan, calls: set[int] | range, state=None) -> list[dict]:
    model, states = assemble(plan, 0), []
    spoil(model, calls)
    training, validation = samples(plan, 0, made, model.stride)
    fit(model, training, validation, plan.training, report=lambda _, state: states.append(deepcopy(state)), state=state)
    return states


def test_single_steps_are_skipped_and_counted_and_do_not_count_in_the_losses(made) -> None:
    """Three steps an epoch: the second of the first epoch is skipped."""
    plan = crowds.plan(epochs=1)
    history = spoilt_fit(made, plan, {1})[0]["history"]
    assert history[0]["skipped_steps"] == 1
    assert np.isfinite(history[0]["loss"])
    assert "skipped_steps" not in trained(made, plan)[1][0]["history"][0]


def test_many_skipped_steps_lead_back_to_the_last_epoch_at_half_the_rate(made) -> None:
    """Two steps of the second epoch are spoilt; what comes is a training that began there at half the rate."""
    plan = crowds.plan(epochs=3, max_skipped=1)
    states = spoilt_fit(made, plan, {3, 4})
    assert [each["epoch"] for each in states[-1]["history"]] == [1, 2, 3]
    slow = deepcopy(states[0])
    slow["optimisers"]["counter"]["param_groups"][0]["initial_lr"] /= 2
    assert same(states[-1]["model"], trained(made, plan, state=slow)[1][-1]["model"])
    assert not same(states[-1]["model"], trained(made, plan)[1][-1]["model"])
    resumed = trained(made, plan, state=deepcopy(states[1]))[1]
    assert same(states[-1]["model"], resumed[-1]["model"])
    assert [each.get("learning_rate_factor") for each in states[-1]["history"]] == [None, 0.5, 0.5]


def test_the_second_time_training_stops_and_gives_back_the_batch(made) -> None:
    plan = crowds.plan(epochs=3, max_skipped=1)
    with pytest.raises(DivergedError, match=r"diverged in epoch 2.*counter\.optimiser\.lr") as error:
        spoilt_fit(made, plan, range(3, 100))
    numbers = [crop.number for crop in list(samples(plan, 0, made, 4)[0].batches(2, 2))[1][0].crops]
    assert error.value.batch is not None
    assert error.value.batch["numbers"] == numbers  # of the second step of the second epoch
    assert error.value.batch["images"].shape == (2, 3, 48, 64)
