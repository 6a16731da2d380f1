"""What a person may write in a study, and what the error says where they may not."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.config.load import load_study
from components.config.options import check
from components.config.study import Study
from components.errors import UserError

SMALL: dict[str, Any] = {
    "study": "small",
    "title": "A small study",
    "datasets": {"crowd": {"source": {"kind": "synthetic"}}},
    "maps": {"drawn": {"dataset": "crowd", "kernel": {"kind": "fixed", "sigma": 4}}},
    "training": {"epochs": 5, "batch_size": 2},
    "experiments": {
        "fixed": {"title": "fixed", "dataset": "crowd", "counter": {"kind": "mcnn"}, "annotation": "drawn"},
        "other": {
            "title": "other",
            "dataset": "crowd",
            "counter": {"kind": "mcnn", "optimiser": {"lr": 0.5}},
            "annotation": "drawn",
            "density_map": {"kind": "generated", "beta": 3},
            "preset": "paper",
            "training": {"epochs": 7},
        },
    },
    "searches": {"beta": {"experiment": "other", "space": {"density_map.beta": {"uniform": [0, 1]}}}},
    "publish": {"baseline": "fixed"},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """The small study with one dotted key set."""
    study = deepcopy(SMALL)
    *parents, last = path.split(".")
    node = study
    for parent in parents:
        node = node[parent]
    node[last] = value
    return study


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            "experimens",
            {},
            r"experimens: there is no such option; allowed: preset, seeds, dataset, ",
        ),
        ("training.epochs", True, r"training\.epochs: must not be true"),
        ("training.target_scale", False, r"training\.target_scale: must not be false"),
        ("experiments.fixed.seeds", [True], r"seeds: must not be true"),
        ("datasets.crowd.split", {"vall": 1}, r"split\.vall: there is no such option; allowed: val, test, seed"),
        ("searches.beta.space", {"density_map.beta": {"uniforn": [0, 1]}}, r"allowed: loguniform, uniform, choice"),
        ("experiments.other.title", "fixed", r"experiments\.other\.title: is also that of fixed"),
        ("experiments.other.title", "", r"title: String should have at least 1 character"),
        ("training.epoch", 3, r"training\.epoch: there is no such option"),
        ("training.epochs", "many", r"training\.epochs: .*integer.*, not 'many'"),
        ("training.epochs", -1, r"training\.epochs: .*greater than or equal to 0, not -1"),
        ("datasets", {"A B": {"source": {"kind": "synthetic"}}}, r"A B: .*pattern"),
        ("datasets", {"$(rm)": {"source": {"kind": "synthetic"}}}, r"pattern"),
        ("maps.drawn.dataset", "crowds", r"maps\.drawn\.dataset: 'crowds' is not defined; defined are crowd"),
        ("experiments.fixed.annotation", "dawn", r"experiments\.fixed\.annotation: 'dawn' is not defined"),
        ("experiments.fixed.preset", "papers", r"preset: .*'paper' or 'stable', not 'papers'"),
        ("experiments.fixed.counter", {"channels": 1}, r"counter\.kind: is missing"),
        ("searches.beta.experiment", "fixd", r"searches\.beta\.experiment: 'fixd' is not defined"),
        ("searches.beta.space", {"a": {"uniform": [0, 1], "choice": [1]}}, r"exactly one of loguniform"),
        ("searches.beta.space", {"a": {"loguniform": [0, 1]}}, r"low > 0 where it is loguniform"),
        ("searches.beta.space", {"a": {"uniform": [2, 1]}}, r"low < high"),
        ("searches.beta.space", {"training.epochs": {"choice": [1]}}, r"is set by the search itself"),
        ("searches.beta.grace_epochs", 11, r"grace_epochs \(11\) must not be more than epochs \(10\)"),
        ("experiments.fixed.seeds", [-1], r"seeds\.0: .*greater than or equal to 0"),
        ("training.crop", [-8, 8], r"training\.crop\.0: .*greater than 0, not -8"),
        ("training.target_scale", float("inf"), r"training\.target_scale: .*finite number, not inf"),
        ("experiments.fixed.seeds", [1, 1], r"experiments\.fixed: seeds: \[1, 1\] names a seed twice"),
        ("searches.beta.space", {"a": {"choice": []}}, r"space\.a\.choice: .*at least 1"),
        ("experiments.fixed.seeds", [2**63], r"seeds\.0: .*less than 4294967296"),
        ("searches.beta.seed", 2**32, r"searches\.beta\.seed: .*less than 4294967296"),
        (
            "searches.beta.space",
            {"training.workers": {"choice": [1]}},
            r"workers is set by the search itself",
        ),
        (
            "searches.beta.space",
            {"dataset": {"choice": ["a"]}},
            r"space: dataset cannot be searched; .*counter, ",
        ),
        ("datasets.crowd.source", "synthetic", r"source: must be a mapping of keys, not 'synthetic'$"),
        ("datasets", [1], r"datasets: must be a mapping of keys, not \[1\]$"),
        ("datasets", {}, r"datasets: must have at least 1 entry$"),
        ("training", None, r"training: must be a mapping of keys, not None$"),
        ("experiments.fixed.seeds", 3, r"seeds: must be a list, not 3$"),
        ("experiments.fixed.seeds", [], r"seeds: must have at least 1 entry$"),
        ("training.crop", [8, 8, 3], r"crop: must have at most 2 entries, not \[8, 8, 3\]$"),
        ("seeds", [1, -1], r"study\.yaml: seeds\.1: .*greater than or equal to 0, not -1$"),
        ("counter", {"lr": 1}, r"study\.yaml: counter\.kind: is missing$"),
        ("preset", "best", r"study\.yaml: preset: [^\n]*'paper' or 'stable', not 'best'$"),
        ("extends", "Table 3", r"study\.yaml: extends: there is no study 'Table 3' \("),
        ("publish.baseline", "plain", r"publish\.baseline: 'plain' is not defined; defined are fixed, other"),
        ("publish.compared", {"other": ["plain"]}, r"publish\.compared\.other: 'plain' is not defined"),
        ("publish.compared", {"fixed": ["other"]}, r"publish\.compared\.fixed: is the baseline"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, path: str, value: object, said: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(changed(path, value)))
    with pytest.raises(UserError, match=said) as error:
        load_study(file)
    assert str(error.value).startswith(str(file))


def frozen(run: str, seeds: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """The small study with a third experiment, whose density map is that of the runs of another."""
    drawn = {"kind": "frozen", "run": run}
    values = {**SMALL["experiments"]["fixed"], "title": "third", "density_map": drawn, "seeds": list(seeds)}
    return changed("experiments.third", values)


def test_a_frozen_map_names_an_experiment_that_has_its_seeds() -> None:
    study = check(Study, frozen("other"), "study")
    assert [study.frozen_from(name) for name in study.experiments] == [None, None, "other"]
    assert check(Study, frozen("out/old/runs/generated/seed-0"), "study").frozen_from("third") is None
    with pytest.raises(UserError, match=r"third\.density_map\.run: other is not trained with seed 1, which third has"):
        check(Study, frozen("other", seeds=(0, 1)), "study")
    with pytest.raises(UserError, match=r"third\.density_map\.run: third itself takes the maps of third"):
        check(Study, frozen("third"), "study")


def test_what_takes_the_maps_of_another_experiment_is_not_searched() -> None:
    values = frozen("other")
    values["searches"]["beta"] = {"experiment": "third", "space": {"training.flip": {"choice": [True, False]}}}
    with pytest.raises(UserError, match=r"searches\.beta\.experiment: third takes the maps of other; search that"):
        check(Study, values, "study")


def shared(**values: object) -> Study:
    """The small study with defaults for all experiments; `own` stands in its experiment `fixed`."""
    own = values.pop("own", {})
    assert isinstance(own, dict)
    study = changed("experiments.fixed", {"annotation": "drawn", "dataset": "crowd", "counter": {"kind": "mcnn"}} | own)
    return check(Study, study | values, "study")


def test_an_experiment_has_the_defaults_of_its_study_where_it_says_nothing() -> None:
    experiment = {"annotation": "drawn"}
    defaults = {"preset": "paper", "seeds": [3, 4], "dataset": "crowd", "counter": {"kind": "fcn", "pixels": "unit"}}
    study = check(Study, changed("experiments.fixed", experiment) | defaults, "study")
    fixed = study.experiments["fixed"]
    assert (fixed.title, fixed.preset, fixed.seeds, fixed.dataset) == ("fixed", "paper", (3, 4), "crowd")
    assert (fixed.counter, fixed.training) == (study.counter, {"epochs": 5, "batch_size": 2})
    assert fixed.counter.model_dump() == {"kind": "fcn", "pixels": "unit"}


def test_an_experiment_overrides_the_defaults_of_its_study() -> None:
    own = {"preset": "stable", "seeds": [9], "dataset": "crowd", "training": {"epochs": 7, "crop": None}}
    study = shared(preset="paper", seeds=[3, 4], dataset="other", training={"epochs": 5, "crop": [8, 8]}, own=own)
    fixed = study.experiments["fixed"]
    assert (fixed.preset, fixed.seeds, fixed.dataset) == ("stable", (9,), "crowd")
    assert fixed.training == {"epochs": 7, "crop": None}


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({"optimiser": {"lr": 0.5}}, {"kind": "mcnn", "channels": 1, "optimiser": {"lr": 0.5, "momentum": 0.9}}),
        ({"kind": "mcnn", "channels": 3}, {"kind": "mcnn", "channels": 3, "optimiser": {"lr": 0.1, "momentum": 0.9}}),
        ({"kind": "fcn", "optimiser": {"lr": 0.5}}, {"kind": "fcn", "optimiser": {"lr": 0.5}}),
    ],
)
def test_counters_are_merged_key_by_key_unless_their_kinds_differ(own: object, expected: object) -> None:
    counter = {"kind": "mcnn", "channels": 1, "optimiser": {"lr": 0.1, "momentum": 0.9}}
    values = changed("experiments.fixed.counter", own) | {"counter": counter}
    assert check(Study, values, "study").experiments["fixed"].counter.model_dump() == expected


def test_without_a_default_dataset_and_counter_are_missing() -> None:
    with pytest.raises(UserError) as error:
        check(Study, changed("experiments.fixed", {"annotation": "drawn"}), "study")
    assert str(error.value).splitlines() == [
        "study: experiments.fixed.dataset: is missing",
        "study: experiments.fixed.counter: is missing",
    ]


def test_titles_default_to_names_and_must_still_differ() -> None:
    values = changed("experiments.other.title", "fixed")
    del values["experiments"]["fixed"]["title"]
    with pytest.raises(UserError, match=r"experiments\.other\.title: is also that of fixed"):
        check(Study, values, "study")
