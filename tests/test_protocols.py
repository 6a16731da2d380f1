"""How data sets are scored that are more than one test set: folds as one row, scenes one by one."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from components.config.options import Choice, check
from components.config.study import Experiment, Study
from components.errors import UserError
from components.evaluation.score import Score
from components.evaluation.scores import stack_scores
from components.evaluation.statistics import estimate
from components.publish import results, study_tables
from components.publish.results import EvaluatedRow, StudyRow

COUNTER = {"kind": "mcnn"}
FOLDS: dict[str, Any] = {
    "study": "folds",
    "title": "Two folds",
    "datasets": {f"fold-{fold}": {"source": {"kind": "ucf_cc_50", "root": "data", "fold": fold}} for fold in (1, 2)},
    "maps": {f"fold-{fold}": {"dataset": f"fold-{fold}", "kernel": {"kind": "fixed"}} for fold in (1, 2)},
    "experiments": {
        f"fixed-{fold}": {
            "title": f"fixed, fold {fold}",
            "dataset": f"fold-{fold}",
            "counter": COUNTER,
            "annotation": f"fold-{fold}",
            "seeds": [fold, 7],
        }
        for fold in (1, 2)
    },
    "publish": {"baseline": "both", "pooled": {"both": ["fixed-1", "fixed-2"]}},
}


def result(name: str, errors: dict[int, dict[str, float]], scenes: dict[str, str] | None = None) -> EvaluatedRow:
    """An experiment whose counts, of ten people in every image, are off by so much: by seed and image."""
    of = scenes or {}
    found = stack_scores(
        {
            seed: [Score(id, 10.0, 10 + error, (error,) * 4, of.get(id, "")) for id, error in images.items()]
            for seed, images in errors.items()
        }
    )
    records = {
        seed: {
            "training_run": {"resolution": "8 x 8", "parameters": 133_705, "alarms": [f"collapse {seed}"]},
            "provenance": {"started_from": f"seed {seed}"},
        }
        for seed in errors
    }
    experiment = Experiment(title=f"title of {name}", dataset=name, counter=Choice(kind="mcnn"), annotation="drawn")
    return EvaluatedRow(name, experiment, "fixed", records, found, estimate(found, 100))


def folds() -> list[StudyRow]:
    first = result("one", {7: {"a": 2.0}, 1: {"a": 90.0}})
    return [first, result("two", {2: {"b": 90.0, "c": 90.0}, 7: {"b": 4.0, "c": 6.0}})]


def test_a_pool_is_a_row_of_all_images_on_the_common_seeds_above_its_folds() -> None:
    pool = results.pool_rows(folds(), "both folds", ["one", "two"], 100)
    assert isinstance(pool, EvaluatedRow)
    table = study_tables.results_table([pool], folds(), 100)
    rows = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    assert [row["Experiment"] for row in rows] == ["both folds", "title of one", "title of two"]
    assert pool.metrics["MAE"].value == pytest.approx((2 + 4 + 6) / 3)
    assert rows[0]["Data"] == "one + two, test, 3 images"
    assert rows[0]["Seeds"] == "7"
    assert rows[0]["Started from"] == "seed 7"


def test_alarms_are_told_once_beside_the_fold_whose_they_are() -> None:
    pool = results.pool_rows(folds(), "both folds", ["one", "two"], 100)
    notes = " ".join(study_tables.results_table([pool], folds(), 100).notes)
    assert notes.count("collapse 7") == 2
    assert "both folds" not in notes


def test_a_pool_waits_for_all_of_its_folds() -> None:
    first, second = folds()
    waiting = results.pool_rows([first, StudyRow("two", second.experiment, "fixed")], "both folds", ["one", "two"], 100)
    assert not isinstance(waiting, EvaluatedRow)
    assert study_tables.results_table([waiting], [first], 100).rows[0][1] == "not run"


def test_a_pool_that_tests_an_image_twice_is_named() -> None:
    twice = [result("one", {0: {"a": 1.0}}), result("two", {0: {"a": 1.0}})]
    with pytest.raises(UserError, match=r"^publish\.pooled\.both: image a is tested twice; "):
        results.pool_rows(twice, "both", ["one", "two"], 100)


def test_a_study_of_folds_is_right() -> None:
    assert check(Study, FOLDS, "here").publish.pooled == {"both": ("fixed-1", "fixed-2")}


@pytest.mark.parametrize(
    ("names", "seeds", "said"),
    [
        (["fixed-1"], [7], "must name two experiments or more"),
        ([], [7], "must name two experiments or more"),
        (["fixed-1", "fixed-3"], [7], "'fixed-3' is not defined; defined are fixed-1, fixed-2"),
        (["fixed-1", "fixed-1"], [7], "two of these experiments test one data set; each fold needs its own"),
        (["fixed-1", "fixed-2"], [2], "no seed is common to all of these experiments; give them the same `seeds`"),
    ],
)
def test_a_pool_that_cannot_be_is_refused_before_anything_is_run(names: list[str], seeds: list[int], said: str) -> None:
    study = deepcopy(FOLDS)
    study["publish"]["pooled"]["both"] = names
    study["experiments"]["fixed-2"]["seeds"] = seeds
    with pytest.raises(UserError) as error:
        check(Study, study, "here")
    assert str(error.value) == f"here: publish.pooled.both: {said}"


def test_scenes_stand_in_columns_and_their_average_weighs_them_alike() -> None:
    scenes = {"a": "104207", "b": "104207", "c": "200608"}
    table = study_tables.scenes_table([result("expo", {0: {"a": 1.0, "b": 3.0, "c": 8.0}}, scenes)], 100)
    assert table.head == ("Experiment", "scene 104207", "scene 200608", "Average")
    assert [str(cell).split(" [")[0] for cell in table.rows[0]] == ["title of expo", "2.0", "8.0", "5.0"]
