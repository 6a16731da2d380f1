"""Metrics against their definitions by hand, intervals against formulas for known distributions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from components.errors import UserError
from components.evaluation import statistics
from components.evaluation.metrics.mae import mean_absolute_error
from components.evaluation.metrics.nae import normalised_absolute_error
from components.evaluation.metrics.rmse import root_mean_squared_error
from components.evaluation.score import Score
from components.evaluation.scores import (
    Cost,
    Scores,
    pool_costs,
    pool_scores,
    read_cost,
    read_scores,
    stack_scores,
    write_scores,
)

TRUTH = np.array([10.0, 0.0, 40.0, 20.0])
PREDICTION = np.array([[13.0, 2.0, 36.0, 20.0], [10.0, 0.0, 40.0, 21.0]])


def made(truth: np.ndarray, prediction: np.ndarray, seeds: tuple[int, ...] = (0, 1)) -> Scores:
    errors = np.abs(prediction - truth)
    game = np.stack([errors * level for level in (1, 2, 3, 4)], axis=-1)
    return Scores(seeds, tuple(f"image {i}" for i in range(len(truth))), truth, prediction, game)


def test_a_test_set_without_people_has_no_nae_and_says_so_quietly(recwarn) -> None:
    nobody = [Score("a", 0.0, 1.0, (1.0,) * 4), Score("b", 0.0, 2.0, (2.0,) * 4)]
    found = statistics.estimate(stack_scores({0: nobody, 1: nobody}), times=100)
    assert np.isnan(found["NAE"]).all()
    assert found["MAE"].value == 1.5
    assert not recwarn.list


def test_metrics_by_hand_one_number_per_seed():
    assert mean_absolute_error(TRUTH, PREDICTION) == pytest.approx([9 / 4, 1 / 4])
    assert root_mean_squared_error(TRUTH, PREDICTION) == pytest.approx([(29 / 4) ** 0.5, 0.5])
    assert normalised_absolute_error(TRUTH, PREDICTION) == pytest.approx([(0.3 + 0.1 + 0) / 3, 0.05 / 3])


def test_nae_of_images_without_people_is_not_a_number():
    assert np.isnan(normalised_absolute_error(np.zeros(2), np.ones((3, 2)))).tolist() == [True] * 3


def test_a_table_prints_the_mean_over_seeds():
    values = statistics.estimate(made(TRUTH, PREDICTION), times=100)
    assert values["MAE"].value == pytest.approx(1.25)
    assert values["GAME(2)"].value == pytest.approx(3 * 1.25)
    assert all(estimate.low <= estimate.value <= estimate.high for estimate in values.values())


def test_interval_of_one_seed_is_the_normal_one_of_a_mean():
    errors = np.random.default_rng(1).exponential(8, 900)
    interval = statistics.estimate(made(np.full(900, 9.0), 9 + errors[None], (0,)))["MAE"]
    half = 1.96 * errors.std() / 30
    assert interval.low == pytest.approx(errors.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(errors.mean() + half, abs=0.1 * half)


def test_seeds_that_disagree_widen_the_interval():
    images = 30 + np.random.default_rng(2).exponential(8, 400)
    steady = statistics.estimate(made(np.full(400, 9.0), np.stack([images, images])))["MAE"]
    apart = statistics.estimate(made(np.full(400, 9.0), np.stack([images - 5, images + 5])))["MAE"]
    assert apart.high - apart.low > 3 * (steady.high - steady.low)


def test_the_same_scores_give_the_same_interval():
    assert statistics.estimate(made(TRUTH, PREDICTION)) == statistics.estimate(made(TRUTH, PREDICTION))


def test_a_constant_improvement_is_beyond_noise_however_noisy_the_images_are():
    errors = np.random.default_rng(3).exponential(50, (2, 30)) + 5
    difference = statistics.compare(made(np.zeros(30), errors - 2), made(np.zeros(30), errors))
    assert difference.mae == pytest.approx((-2, -2, -2))
    assert difference.by_seed == pytest.approx({0: -2, 1: -2})
    assert difference.beyond_noise


def test_a_comparison_takes_the_seeds_that_both_have_in_their_own_order():
    errors = np.array([[1.0, 1.0], [10.0, 10.0], [7.0, 9.0]])
    ours, baseline = made(np.zeros(2), errors, (5, 6, 7)), made(np.zeros(2), errors[:2] - 1, (7, 5))
    difference = statistics.compare(ours, baseline)
    assert difference.by_seed == {5: 1 - 9, 7: 8 - 0}
    assert difference.mae.value == pytest.approx(0)


def test_when_images_agree_the_interval_is_students_over_the_seeds():
    gaps = np.array([3.0, 5.0, 10.0])
    difference = statistics.compare(made(np.zeros(9), gaps[:, None] + np.ones((3, 9)), (0, 1, 2)), made_ones(9))
    expected = stats.ttest_1samp(gaps, 0).confidence_interval()
    assert difference.mae == pytest.approx((6, expected.low, expected.high))


def made_ones(images: int) -> Scores:
    return made(np.zeros(images), np.ones((3, images)), (0, 1, 2))


def test_runs_that_differ_by_chance_are_seldom_beyond_noise():
    """Three seeds whose MAE varies by 5 whatever the method: a percentile bootstrap alone errs in one case of four."""
    stream = np.random.default_rng(4)

    def runs() -> Scores:
        return made(np.zeros(40), 30 + stream.normal(0, 5, (3, 1)) + stream.normal(0, 2, (3, 40)), (0, 1, 2))

    wrong = sum(statistics.compare(runs(), runs(), times=100).beyond_noise for _ in range(300))
    assert wrong / 300 < 0.08


def test_unlike_images_or_seeds_are_not_compared():
    ours = made(TRUTH, PREDICTION)
    with pytest.raises(UserError, match="same test images"):
        statistics.compare(ours, made(TRUTH[:2], PREDICTION[:, :2]))
    with pytest.raises(UserError, match="one seed in common"):
        statistics.compare(ours, made(TRUTH, PREDICTION, (2, 3)))


@pytest.mark.parametrize(
    ("interval", "seeds", "beyond"),
    [((-1, -3, 1), 3, False), ((2, 1, 3), 3, True), ((-2, -3, -1), 2, True), ((-2, -3, -1), 1, False)],
)
def test_beyond_noise_is_read_off_the_interval_and_needs_more_than_one_seed(interval, seeds, beyond):
    difference = statistics.Difference(statistics.Estimate(*interval), dict.fromkeys(range(seeds), 0.0))
    assert difference.beyond_noise is beyond


def test_scores_come_back_from_parquet_as_they_were(tmp_path):
    scores = {
        seed: [Score("a", 3.0, 2.5 + seed, (0.5, 1.0, 1.5, 2.0)), Score("b", 0.0, 0.25, (0.25,) * 4)] for seed in (7, 2)
    }
    write_scores(tmp_path / "scores" / "fixed.parquet", scores)
    back = read_scores(tmp_path / "scores" / "fixed.parquet")
    assert (back.seeds, back.ids) == ((2, 7), ("a", "b"))
    assert back.prediction.tolist() == [[4.5, 0.25], [9.5, 0.25]]
    assert back.game[1, 0].tolist() == [0.5, 1.0, 1.5, 2.0]


def test_a_cost_comes_back_and_changes_no_score(tmp_path):
    scores, cost = {0: [Score("a", 3.0, 2.5, (0.5, 1.0, 1.5, 2.0))]}, Cost(0.25, 0.8, "a processor")
    write_scores(tmp_path / "with.parquet", scores, cost)
    write_scores(tmp_path / "without.parquet", scores)
    assert read_cost(tmp_path / "with.parquet") == cost
    assert read_cost(tmp_path / "without.parquet") is None
    assert read_scores(tmp_path / "with.parquet").prediction.tolist() == [[2.5]]


def test_the_cost_of_pooled_folds_is_that_of_all_their_images() -> None:
    few, many = Cost(1.0, 2.0, "one"), Cost(4.0, 5.0, "one")
    assert pool_costs([few, many], [1, 2]) == Cost((1 + 4 + 4) / 3, (2 + 5 + 5) / 3, "one")
    assert pool_costs([few, None], [1, 2]) is None
    assert pool_costs([few, dataclasses.replace(many, processor="two")], [1, 2]) is None


def test_seeds_scored_on_different_images_are_refused():
    with pytest.raises(UserError, match="one and the same set of images"):
        stack_scores({0: [Score("a", 1, 1, (0, 0, 0, 0))], 1: [Score("b", 1, 1, (0, 0, 0, 0))]})


def test_folds_are_pooled_into_one_test_set_on_the_seeds_they_share() -> None:
    first = stack_scores({seed: [Score("a", 3.0, 2.0 + seed, (0.0,) * 4)] for seed in (0, 1)})
    second = stack_scores({seed: [Score("b", 5.0, 9.0, (1.0,) * 4)] for seed in (1, 2)})
    both = pool_scores([first, second])
    assert (both.seeds, both.ids) == ((1,), ("a", "b"))
    np.testing.assert_array_equal(both.prediction, [[3.0, 9.0]])
    np.testing.assert_array_equal(both.truth, [3.0, 5.0])
    assert both.game.shape == (1, 2, 4)


def test_an_image_that_two_folds_test_is_refused() -> None:
    part = stack_scores({0: [Score("a", 3.0, 2.0, (0.0,) * 4)]})
    with pytest.raises(UserError, match="image a is tested twice"):
        pool_scores([part, part])


def test_folds_without_a_common_seed_are_refused() -> None:
    parts = [stack_scores({seed: [Score(f"{seed}", 3.0, 2.0, (0.0,) * 4)]}) for seed in (0, 1)]
    with pytest.raises(UserError, match="no seed is common"):
        pool_scores(parts)


def test_pooled_metrics_are_those_of_all_images_and_not_the_mean_of_the_folds() -> None:
    few, many = made(TRUTH[:1], PREDICTION[:, :1]), made(TRUTH[1:], PREDICTION[:, 1:])
    few = dataclasses.replace(few, ids=("fold 1",))
    pooled, whole = (
        statistics.estimate(pool_scores([few, many]), 100),
        statistics.estimate(made(TRUTH, PREDICTION), 100),
    )
    assert pooled == whole
    assert pooled["MAE"].value == pytest.approx((9 / 4 + 1 / 4) / 2)


def test_a_scene_with_noisy_images_widens_its_own_interval_and_the_average_s() -> None:
    errors = np.array([[2.0, 2.0, 2.0, 0.0, 8.0]] * 2)
    both = dataclasses.replace(made(np.zeros(5), errors), scenes=("calm",) * 3 + ("noisy",) * 2)
    found = statistics.by_scene(both, times=400)
    assert found["calm"] == (2, 2, 2)
    assert found["noisy"] == (4, 0, 8)  # both images the first, or both the second, in more than 2.5 % of the draws
    assert found["average"] == (3, 1, 5)
