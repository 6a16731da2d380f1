"""One experiment with every option written out: what goes before what, and what is refused."""

from __future__ import annotations

import pytest

from components.config.load import load_study
from components.config.options import check
from components.config.resolve import Plan, resolve
from components.config.study import Study
from components.errors import UserError
from tests.config.test_study import SMALL, changed
from tests.conftest import ROOT

STUDIES = sorted(path.parent.name for path in (ROOT / "params").glob("*/study.yaml"))


def plan(study: Study, name: str) -> Plan:
    experiment = study.experiments[name]
    kernel = study.maps[experiment.annotation].kernel
    return resolve(experiment, kernel, study.study, name, f"study: experiments.{name}")


@pytest.mark.parametrize("name", STUDIES)
def test_every_committed_study_is_right_down_to_its_options(name: str) -> None:
    study = load_study(ROOT / "params" / name / "study.yaml")
    assert study.study == name
    assert [plan(study, experiment).experiment for experiment in study.experiments] == list(study.experiments)


def test_an_unknown_kind_lists_those_that_there_are() -> None:
    study = check(Study, changed("experiments.fixed.counter", {"kind": "mccn"}), "study")
    with pytest.raises(UserError, match=r"experiments\.fixed\.counter: there is no counter 'mccn'; kinds: .*mcnn"):
        plan(study, "fixed")


def test_an_unknown_option_of_a_kind_lists_those_that_there_are() -> None:
    study = check(Study, changed("experiments.fixed.counter", {"kind": "mcnn", "chanels": 1}), "study")
    with pytest.raises(UserError, match=r"counter: chanels: there is no such option; allowed: channels, pixels"):
        plan(study, "fixed")


def test_what_is_written_goes_before_the_preset_and_the_preset_before_the_defaults() -> None:
    study = check(Study, SMALL, "study")
    plain, paper = plan(study, "fixed"), plan(study, "other")
    assert (plain.training.epochs, paper.training.epochs) == (5, 7)
    assert (plain.training.target_scale, paper.training.target_scale) == (None, 1.0)
    assert plain.counter.options.initialisation == "he"
    assert paper.counter.options.initialisation == "normal"
    assert paper.counter.options.optimiser.lr == 0.5
    assert paper.density_map.options.beta == 3
    assert paper.density_map.options.optimiser.lr == 1e-7
