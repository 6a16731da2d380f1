"""The simulation of nodes that fail, against what can be calculated by hand."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from statistics import mean

import pytest

from benchmarks.scale.costs import Costs, Validation, load, save
from benchmarks.scale.scenarios import AIM, Assumptions, all_reduce, best_interval, goodput_budget
from benchmarks.scale.simulate import Training, expected_goodput, makespan, simulate, young_daly

COSTS = Costs(
    step=0.3,
    all_reduce=0.03,
    all_reduce_bytes=9_700_000,
    image=0.1,
    image_pixels=80_000,
    checkpoint=0.8,
    checkpoint_bytes=38_000_000,
    restore=0.1,
    ray_start=20.0,
    start=15.0,
    restart=20.0,
    end=2.0,
    frame_operations=1e11,
)
TRAINING = Training(steps=95, step=2.0, every=10, nodes=4, start=30.0, restart=20.0, checkpoint=1.0, end=5.0)
STORED = replace(TRAINING, checkpoint_bytes=6e6, restore=0.5, validation=3.0)  # 3 s to store at 2 MB/s
LONG = Training(steps=20_000, step=1.0, every=60, nodes=100, restart=25.0, checkpoint=2.0)


def test_without_failures_the_time_is_the_sum_of_its_parts() -> None:
    outcome = simulate(STORED, bandwidth=2e6)
    checkpoints = ceil(95 / 10)
    assert outcome.wall == pytest.approx(30 + 95 * 2 + checkpoints * (3 + 1 + 3) + 5)
    assert (outcome.failures, outcome.lost) == (0, 0)
    assert outcome.goodput == pytest.approx(190 / outcome.wall)


def test_a_failure_costs_the_steps_since_the_last_checkpoint_a_restart_and_a_restore_by_every_node() -> None:
    """The first checkpoint is stored after 30 + 10 * 2 + 7 = 57 s; the failure comes 11 s later."""
    calm, struck = (simulate(STORED, spares=1, bandwidth=2e6, failures=gaps) for gaps in ([], [68.0]))
    assert struck.failures == 1
    assert struck.lost == pytest.approx(11)
    assert struck.seconds["restoring"] == pytest.approx(4 * 3 + 0.5)
    assert struck.wall - calm.wall == pytest.approx(11 + 20 + 4 * 3 + 0.5)


@pytest.mark.parametrize("moment", [10.0, 54.5, 56.5])
def test_a_failure_before_the_first_checkpoint_is_stored_costs_everything_so_far(moment: float) -> None:
    """While starting, in the checkpoint, and in its transfer."""
    calm, struck = (simulate(STORED, spares=1, bandwidth=2e6, failures=gaps) for gaps in ([], [moment]))
    assert struck.wall - calm.wall == pytest.approx(moment - 30 + 20)


def test_a_failure_while_starting_again_starts_again_once_more() -> None:
    once, twice = (simulate(TRAINING, spares=2, failures=gaps) for gaps in ([68.0], [68.0, 15.0]))
    assert twice.wall - once.wall == pytest.approx(15)


def test_without_a_spare_node_a_training_waits_until_one_is_repaired() -> None:
    spare, none = (simulate(TRAINING, spares=count, repair=100.0, failures=[68.0]) for count in (1, 0))
    assert none.wall - spare.wall == pytest.approx(100)
    assert none.seconds["waiting for a node"] == pytest.approx(100)


def test_a_checkpoint_beside_the_steps_costs_its_copy_alone_but_counts_only_when_it_is_stored() -> None:
    beside = replace(TRAINING, asynchronous=True, checkpoint_bytes=6e6)
    assert simulate(beside, bandwidth=2e6).wall == pytest.approx(30 + 190 + 10 + 3 + 5)  # the last is waited for
    early, late = (simulate(beside, spares=1, bandwidth=2e6, failures=[moment]) for moment in (53.0, 55.0))
    assert early.lost == pytest.approx(22)
    assert late.lost == pytest.approx(4)


def test_a_slow_storage_holds_up_steps_also_when_checkpoints_are_written_beside_them() -> None:
    beside = replace(TRAINING, steps=20, asynchronous=True, checkpoint_bytes=100.0)
    assert simulate(beside, bandwidth=1.0).wall == pytest.approx(30 + 20 + 1 + 100 + 1 + 100 + 5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("asynchronous", [False, True])
def test_time_and_work_are_conserved(seed: int, asynchronous: bool) -> None:
    training = replace(LONG, checkpoint_bytes=1e6, restore=1.0, validation=2.0, asynchronous=asynchronous)
    outcome = simulate(training, spares=1, mtbf=60_000.0, repair=500.0, bandwidth=1e6, seed=seed)
    assert outcome.failures > 10
    assert outcome.wall == pytest.approx(sum(outcome.seconds.values()))
    assert outcome.seconds["steps"] == pytest.approx(outcome.work + outcome.lost)
    assert outcome.lost > 0
    assert outcome == simulate(training, spares=1, mtbf=60_000.0, repair=500.0, bandwidth=1e6, seed=seed)


@pytest.mark.parametrize("mtbf", [300.0, 3000.0])
def test_goodput_is_that_of_the_formula(mtbf: float) -> None:
    """`mtbf` of the cluster: that of one of its 100 nodes is as many times longer."""
    goodput = mean(simulate(LONG, spares=99, mtbf=100 * mtbf, seed=seed).goodput for seed in range(8))
    assert goodput == pytest.approx(expected_goodput(60, 2, 25, mtbf), rel=0.015)


def test_goodput_falls_with_the_time_between_failures() -> None:
    found = [simulate(LONG, spares=99, mtbf=100 * mtbf).goodput for mtbf in (1e9, 10_000, 3000, 1000, 300)]
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(60 / 62, abs=1e-3)


def test_the_best_interval_is_that_of_young_and_daly() -> None:
    made = Training(steps=1, step=1.0, every=1, nodes=100, restart=25.0, checkpoint=20.0)
    best = best_interval(made, Assumptions(), mtbf=10_800.0, spares=20, failures=40)
    assert best.young_daly == pytest.approx((2 * 20.0 * 10_800) ** 0.5) == young_daly(20.0, 10_800)
    assert 0.5 <= best.interval / best.young_daly <= 2
    at = dict(best.tried)
    nearest = min(at, key=lambda interval: abs(interval - best.young_daly))
    assert best.goodput - at[nearest] < 0.001
    assert best.goodput - max(at[min(at)], at[max(at)]) > 0.01


@pytest.mark.parametrize("restart", [0.0, 10.0, 60.0])
def test_the_budget_of_a_checkpoint_meets_the_aim(restart: float) -> None:
    checkpoint = goodput_budget(Assumptions(), restart)
    goodput = expected_goodput(young_daly(checkpoint, 10_800), checkpoint, restart, 10_800)
    assert goodput == pytest.approx(AIM, abs=2e-4)


def test_no_checkpoint_is_cheap_enough_where_restarts_cost_more_than_the_aim_leaves() -> None:
    assert goodput_budget(Assumptions(), 130.0) == 0


def test_trainings_that_share_nodes_and_storage_queue_for_both() -> None:
    one = Training(steps=10, step=1.0, every=10, start=5.0, checkpoint_bytes=4.0)
    assert makespan(one, 6, 2, bandwidth=1e9) == pytest.approx(3 * 15)
    assert makespan(one, 6, 6, bandwidth=1.0) == pytest.approx(15 + 6 * 4)


def test_gradients_of_two_nodes_pass_the_network_once() -> None:
    assumed = Assumptions(latency=0.0, network=1e6)
    assert all_reduce(COSTS, assumed, 1) == 0
    assert all_reduce(COSTS, assumed, 2) == pytest.approx(9.7)
    assert all_reduce(COSTS, assumed, 100) == pytest.approx(2 * 9.7, rel=0.02)


def test_costs_are_read_as_they_were_written(tmp_path) -> None:
    validations = [Validation(epochs=2, steps=3, killed_after=None, real=10.0, simulated=11.0)]
    save(COSTS, validations, tmp_path / "folder" / "costs.json")
    assert load(tmp_path / "folder" / "costs.json") == (COSTS, validations)
    assert validations[0].error == pytest.approx(0.1)
