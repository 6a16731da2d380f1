"""What a person may write in a study, and what the error says where they may not."""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.config import plugins
from components.config.options import Choice, check
from components.config.resolve import plan
from components.config.study import Study, load_study
from tests.conftest import ROOT

STUDIES = sorted(path.parent.name for path in (ROOT / "params").glob("*/study.yaml"))
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


@pytest.mark.parametrize("name", STUDIES)
def test_every_committed_study_is_right_down_to_its_options(name: str) -> None:
    study = load_study(ROOT / "params" / name / "study.yaml")
    assert study.study == name
    assert [plan(study, experiment).experiment for experiment in study.experiments] == list(study.experiments)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("experimens", {}, r"experimens: there is no such option; allowed: study, title, datasets"),
        ("training.epochs", True, r"training\.epochs: must not be true"),
        ("training.target_scale", False, r"training\.target_scale: must not be false"),
        ("experiments.fixed.seeds", [True], r"seeds: must not be true"),
        ("datasets.crowd.split", {"vall": 1}, r"split\.vall: there is no such option; allowed: val, test, seed"),
        ("searches.beta.space", {"density_map.beta": {"uniforn": [0, 1]}}, r"allowed: loguniform, uniform, choice"),
        ("experiments.other.title", "fixed", r"experiments\.other\.title: is that of fixed"),
        ("experiments.other.title", "", r"title: String should have at least 1 character"),
        ("training.epoch", 3, r"training\.epoch: there is no such option"),
        ("training.epochs", "many", r"training\.epochs: .*integer.*, not 'many'"),
        ("training.epochs", 0, r"training\.epochs: .*greater than or equal to 1, not 0"),
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
        ("searches.beta.space", {"training.epochs": {"choice": [1]}}, r"is the search's own"),
        ("searches.beta.grace_epochs", 11, r"grace_epochs \(11\) must not be more than epochs \(10\)"),
        ("experiments.fixed.seeds", [-1], r"seeds\.0: .*greater than or equal to 0"),
        ("training.crop", [-8, 8], r"training\.crop\.0: .*greater than 0, not -8"),
        ("training.target_scale", float("inf"), r"training\.target_scale: .*finite number, not inf"),
        ("experiments.fixed.seeds", [1, 1], r"experiments\.fixed: seeds: \[1, 1\] names a seed twice"),
        ("searches.beta.space", {"a": {"choice": []}}, r"space\.a\.choice: .*at least 1"),
        ("experiments.fixed.seeds", [2**63], r"seeds\.0: .*less than 4294967296"),
        ("searches.beta.seed", 2**32, r"searches\.beta\.seed: .*less than 4294967296"),
        ("searches.beta.space", {"training.workers": {"choice": [1]}}, r"training\.workers is the search's own"),
        ("searches.beta.space", {"dataset": {"choice": ["a"]}}, r"space: dataset is not .*counter, density_map, loss"),
        ("datasets.crowd.source", "synthetic", r"source: must be a mapping of keys, not 'synthetic'$"),
        ("datasets", [1], r"datasets: must be a mapping of keys, not \[1\]$"),
        ("datasets", {}, r"datasets: must have at least 1 entry$"),
        ("training", None, r"training: must be a mapping of keys, not None$"),
        ("experiments.fixed.seeds", 3, r"seeds: must be a list, not 3$"),
        ("experiments.fixed.seeds", [], r"seeds: must have at least 1 entry$"),
        ("training.crop", [8, 8, 3], r"crop: must have at most 2 entries, not \[8, 8, 3\]$"),
        ("publish.baseline", "plain", r"publish\.baseline: 'plain' is not defined; defined are fixed, other"),
        ("publish.compared", {"other": ["plain"]}, r"publish\.compared\.other: 'plain' is not defined"),
        ("publish.compared", {"fixed": ["other"]}, r"publish\.compared\.fixed: is the baseline"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, path: str, value: object, said: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(changed(path, value)))
    with pytest.raises(ValueError, match=said) as error:
        load_study(file)
    assert str(error.value).startswith(str(file))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [", "is not YAML"),
        ("a:\n\tb", r"study\.yaml: is not YAML: line 2: found character .* cannot start any token$"),
        ("a: \0", r"is not YAML: unacceptable character[^\n]*$"),
        ("- a", "must be a mapping"),
        ("", "must be a mapping"),
        ("maps: {}\nmaps: {}", r"is not YAML: line 2: 'maps' stands twice$"),
        ("maps:\n  a: {kind: x}\n  b: 1\n  a: 2", r"is not YAML: line 4: 'a' stands twice$"),
        ("? [a]\n: 1", r"is not YAML: line 1: found unhashable key$"),
    ],
)
def test_files_that_are_no_study_are_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "study.yaml").write_text(content)
    with pytest.raises(ValueError, match=said):
        load_study(tmp_path / "study.yaml")


def test_a_merged_mapping_may_merge_another_and_say_otherwise(tmp_path: Path) -> None:
    """YAML's loader puts what is merged among a mapping's own keys, where it is no key that stands twice."""
    study = deepcopy(SMALL) | {"training": "TRAINING"}
    study["experiments"] = {"fixed": SMALL["experiments"]["fixed"] | {"training": "OWN"}}
    text = yaml.safe_dump(study | {"searches": {}}, sort_keys=False)
    text = text.replace("training: OWN", "training: &own {<<: {epochs: 3}, epochs: 1}", 1)
    experiments, training = text.index("experiments:"), text.index("training: TRAINING")
    text = text[:training] + text[experiments:] + "training: {<<: *own, batch_size: 2}\n"
    (tmp_path / "study.yaml").write_text(text)
    found = load_study(tmp_path / "study.yaml")
    assert (found.training.epochs, found.experiments["fixed"].training) == (1, {"epochs": 1})


def test_a_missing_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere.*no such file"):
        load_study(tmp_path / "nowhere" / "study.yaml")


def test_an_unknown_kind_lists_those_that_there_are() -> None:
    study = check(Study, changed("experiments.fixed.counter", {"kind": "mccn"}), "study")
    with pytest.raises(ValueError, match=r"experiments\.fixed\.counter: there is no counter 'mccn'; kinds: .*mcnn"):
        plan(study, "fixed")


def test_an_unknown_option_of_a_kind_lists_those_that_there_are() -> None:
    study = check(Study, changed("experiments.fixed.counter", {"kind": "mcnn", "chanels": 1}), "study")
    with pytest.raises(ValueError, match=r"counter: chanels: there is no such option; allowed: channels, pixels"):
        plan(study, "fixed")


def test_what_is_written_goes_before_the_preset_and_the_preset_before_the_defaults() -> None:
    study = check(Study, SMALL, "study")
    plain, paper = plan(study, "fixed"), plan(study, "other")
    assert (plain.training.epochs, paper.training.epochs) == (5, 7)
    assert (plain.training.target_scale, paper.training.target_scale) == (None, 1.0)
    assert plain.counter.options["initialisation"] == "he"
    assert paper.counter.options["initialisation"] == "normal"
    assert paper.counter.options["optimiser"]["lr"] == 0.5
    assert paper.density_map.options["beta"] == 3
    assert paper.density_map.options["optimiser"]["lr"] == 1e-7


def frozen(run: str, seeds: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """The small study with a third experiment, whose density map is that of the runs of another."""
    drawn = {"kind": "frozen", "run": run}
    values = {**SMALL["experiments"]["fixed"], "title": "third", "density_map": drawn, "seeds": list(seeds)}
    return changed("experiments.third", values)


def test_a_frozen_map_names_an_experiment_that_has_its_seeds() -> None:
    study = check(Study, frozen("other"), "study")
    assert [study.source(name) for name in study.experiments] == [None, None, "other"]
    assert check(Study, frozen("out/old/runs/generated/seed-0"), "study").source("third") is None
    with pytest.raises(ValueError, match=r"third\.density_map\.run: other is not trained with seed 1, which third has"):
        check(Study, frozen("other", seeds=(0, 1)), "study")
    with pytest.raises(ValueError, match=r"third\.density_map\.run: third takes its own maps of third"):
        check(Study, frozen("third"), "study")


def test_what_takes_the_maps_of_another_experiment_is_not_searched() -> None:
    values = frozen("other")
    values["searches"]["beta"] = {"experiment": "third", "space": {"training.flip": {"choice": [True, False]}}}
    with pytest.raises(ValueError, match=r"searches\.beta\.experiment: third takes maps of other; search that"):
        check(Study, values, "study")


@pytest.mark.parametrize("family", plugins.FAMILIES)
def test_a_kind_without_options_starts_from_defaults_or_names_what_is_missing(family: str) -> None:
    assert plugins.kinds(family)
    for kind in plugins.kinds(family):
        missing = [name for name, field in plugins.options(family, kind).model_fields.items() if field.is_required()]
        said = pytest.raises(ValueError, match=rf"test: {missing[0]}: is missing") if missing else nullcontext()
        with said:
            plugins.resolve(family, Choice(kind=kind), "test")


def test_writing_one_option_of_an_optimiser_leaves_the_others_as_preset_or_default_have_them() -> None:
    written = Choice(kind="csrnet", weights="none", optimiser={"lr": 1e-6})
    paper = plugins.resolve("counter", written, "test", "paper")
    assert paper.optimiser.model_dump() == {"kind": "sgd", "lr": 1e-6, "momentum": 0.95, "weight_decay": 5e-4}
    stable = plugins.resolve("counter", Choice(kind="mcnn", optimiser={"weight_decay": 1e-4}), "test")
    assert stable.optimiser.lr == plugins.resolve("counter", Choice(kind="mcnn"), "test").optimiser.lr
