"""A training ends bit for bit the same however often it was interrupted."""

from __future__ import annotations

from copy import deepcopy

import pytest

from components.training.alarms import alarms
from components.training.assemble import assemble, samples
from components.training.fit import fit
from tests import crowds
from tests.training.trainings import GENERATED, MIXTURE, REFINED, same, saved, spoil, trained, trained_by

LEARNED = GENERATED | {"kernels": "learned", "refinement": "local"}
GRID = GENERATED | {"resolution": "grid"}
RARELY = MIXTURE | {"features": "dots_and_counter", "update_every": 3}


@pytest.mark.parametrize("density_map", [{"kind": "identity"}, REFINED, GENERATED, LEARNED, GRID, RARELY], ids=str)
def test_a_resumed_run_ends_bit_for_bit_as_the_uninterrupted_one(made, density_map: dict) -> None:
    plan = crowds.plan(density_map, epochs=4, crop=[32, 48])
    whole, states = trained(made, plan)
    for stopped_after in (1, 3):
        resumed, rest = trained(made, plan, state=deepcopy(states[stopped_after - 1]))
        assert same(whole.state_dict(), resumed.state_dict())
        assert [each["val_mae"] for each in rest[-1]["history"]] == [each["val_mae"] for each in states[-1]["history"]]
        assert rest[-1]["best"]["epoch"] == states[-1]["best"]["epoch"]


BILEVEL = MIXTURE | {"training": "bilevel", "every": 2, "features": "dots_and_counter"}
LOOKING = MIXTURE | {"features": "dots_and_counter", "update_every": 2}


@pytest.mark.parametrize("density_map", [{"kind": "identity"}, GENERATED, BILEVEL, LOOKING], ids=str)
def test_a_run_that_was_stopped_within_epochs_ends_bit_for_bit_the_same(made, density_map: dict) -> None:
    """After each number of steps, the third of three too; where the map looks at the counter its images may be new."""
    plan = crowds.plan(density_map, epochs=3, crop=[32, 48], average=0.9)
    whole, states = trained(made, plan)
    state, parts = None, []
    while state is None or state["epoch"] < 3:
        model, steps = assemble(plan, 0), iter([False, False, True] if len(parts) % 2 else [True])
        state = fit(
            model,
            *samples(plan, 0, made, model.stride),
            plan.training,
            report=lambda record, state: None,
            state=state,
            stop_requested=lambda steps=steps: next(steps, False),
        )
        parts.append("part" in state and state["part"]["totals"]["steps"])
        state = saved(state)
    assert same(whole.state_dict(), model.state_dict())
    assert [part for part in parts if part], "it was stopped within an epoch"
    assert measured(state) == measured(states[-1])


def measured(state: dict) -> list[dict[str, float]]:
    """What each epoch measured, but for times."""
    return [{key: each[key] for key in each if key not in ("seconds", "waiting")} for each in state["history"]]


@pytest.mark.parametrize(("density_map", "workers"), [(GENERATED, 1), (BILEVEL, 2)], ids=["one", "two"])
def test_a_run_goes_on_bit_for_bit_from_each_state_that_it_saved_within_an_epoch(made, density_map, workers) -> None:
    """Worker 0 alone says when, and where nothing is saved the training is the same."""
    plan = crowds.plan(density_map, epochs=2, crop=[32, 48], average=0.9, batch_size=2)
    undisturbed, none = trained_by(workers, made, plan)
    whole, parts = trained_by(workers, made, plan, part_is_due=lambda: True)
    assert none == []
    assert [(each["epoch"], each["part"]["totals"]["steps"]) for each in parts] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert [each["best"] for each in parts[:2]] == [None, None]
    assert [len(each["history"]) for each in parts] == [0, 0, 1, 1]
    for state in (whole, *(trained_by(workers, made, plan, part)[0] for part in parts[1:])):
        assert "part" not in state
        assert same(state["model"], undisturbed["model"])
        assert same(state["average"], undisturbed["average"])
        assert same(state["best"]["model"], undisturbed["best"]["model"])
        assert measured(state) == measured(undisturbed)


def test_a_run_that_resumes_within_an_epoch_rolls_back_to_the_start_of_the_epoch(made) -> None:
    """As the one that was not interrupted: wherever it was interrupted, a rate is halved for the same steps."""
    plan = crowds.plan(epochs=2, max_skipped=0)
    states, parts = [], []
    for state, spoilt in ((None, {5}), (parts, {1})):  # the last step of the second epoch
        model = assemble(plan, 0)
        spoil(model, spoilt)
        last = fit(
            model,
            *samples(plan, 0, made, model.stride),
            plan.training,
            report=lambda record, state: parts.append(saved(state)) if record is None else None,
            part_is_due=lambda: not states,
            state=state and state[2],  # after the first step of the second epoch
        )
        states.append(last)
    assert states[0]["halved"]
    assert same(states[0]["model"], states[1]["model"])


def test_a_run_that_an_alarm_stopped_stays_stopped_when_it_is_asked_for_again(made) -> None:
    collapsing = GENERATED | {"warm_up": 0}
    _, states = trained(made, crowds.plan(collapsing, epochs=5, stop_on_alarm=True))
    assert 1 <= len(states) < 5
    assert alarms(states[-1]["history"][-1])
    assert trained(made, crowds.plan(collapsing, epochs=5, stop_on_alarm=True), state=deepcopy(states[-1]))[1] == []


AUGMENTED = {"scale": [0.8, 2.0], "brightness": 0.2, "jpeg": 0.5}


@pytest.mark.parametrize("density_map", [{"kind": "identity"}, GENERATED, MIXTURE], ids=lambda each: each["kind"])
def test_an_augmented_run_with_averaged_weights_is_resumed_bit_for_bit(made, density_map: dict) -> None:
    plan = crowds.plan(density_map, epochs=4, crop=[32, 48], augmentation=AUGMENTED, average=0.9)
    whole, states = trained(made, plan)
    resumed, rest = trained(made, plan, state=deepcopy(states[1]))
    assert same(whole.state_dict(), resumed.state_dict())
    assert same(states[-1]["average"], rest[-1]["average"])
    assert same(states[-1]["best"]["model"], rest[-1]["best"]["model"])
