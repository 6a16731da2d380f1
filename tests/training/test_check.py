"""Every mistake of a study at once, a line each."""

from __future__ import annotations

from typing import Any

import pytest

from components.config.options import check
from components.config.study import Study
from components.errors import UserError
from components.publish.results import describe_map
from components.training import check as study_check
from components.training.check import find_mistakes
from tests import crowds
from tests.config.test_study import SMALL, changed


def mistakes(values: dict[str, Any]) -> list[str]:
    return find_mistakes(check(Study, values, "study"), "study.yaml", {"fixed_4", ""}, {"shanghaitech-a"})


def test_a_study_without_mistakes_has_none() -> None:
    values = changed("experiments.fixed.published", "fixed_4")
    values["publish"]["published"] = "shanghaitech-a"
    assert mistakes(values) == []


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("datasets.crowd.source", {"kind": "synthetik"}, "datasets.crowd.source: there is no dataset 'synthetik'; "),
        ("maps.drawn.kernel", {"kind": "fixed", "sigma": -4}, "maps.drawn.kernel: sigma: "),
        ("experiments.fixed.counter", {"kind": "mccn"}, "experiments.fixed.counter: there is no counter 'mccn'; "),
        ("experiments.fixed.density_map", {"kind": "generated", "betta": 1}, "experiments.fixed.density_map: betta: "),
        ("experiments.fixed.loss", {"kind": "l2"}, "experiments.fixed.loss: there is no loss 'l2'; "),
        ("experiments.other.loss", {"kind": "dm_count"}, "experiments.other.density_map: generated is of no use "),
        ("experiments.fixed.training", {"epoch": 1}, "experiments.fixed.training: epoch: there is no such option; "),
        ("experiments.fixed.training", {"crop": [33, 32]}, "experiments.fixed: training.crop: [33, 32] must be mult"),
        ("experiments.fixed.training", {"augmentation": {"scale": [0.5, 2]}}, "experiments.fixed: training.augmenta"),
        ("experiments.fixed.counter", {"kind": "mcnn", "weights": "no.pth"}, "experiments.fixed: no.pth does not ex"),
        ("experiments.fixed.loss", {"kind": "zip", "block": 18}, "experiments.fixed: loss.block: 18 must be a mult"),
        ("experiments.fixed.published", "x", "experiments.fixed.published: there is no row 'x'; rows: fixed_4"),
        ("publish.published", "x", "publish.published: there is no section 'x'; sections: shanghaitech-a"),
        ("searches.beta.space", {"density_map.betta": {"choice": [1]}}, "searches.beta.space: other has no option "),
        ("searches.beta.space", {"density_map.beta": {"uniform": [-1, 1]}}, "searches.beta.space.density_map: beta: "),
    ],
)
def test_each_mistake_is_one_line_with_its_place(path: str, value: object, line: str) -> None:
    [found] = mistakes(changed(path, value))
    assert found.startswith(f"study.yaml: {line}")


def test_every_mistake_of_a_study_is_listed_at_once() -> None:
    values = changed("experiments.other", SMALL["experiments"]["other"] | {"counter": {"kind": "mccn"}})
    values["experiments"]["other"]["density_map"] = {"kind": "generated", "betta": 1, "alpa": 2}
    values["maps"]["drawn"]["kernel"] = {"kind": "fixd"}
    places = [line.removeprefix("study.yaml: ").split(": ")[0] for line in mistakes(values)]
    assert places == [
        "maps.drawn.kernel",
        "experiments.other.counter",
        "experiments.other.density_map",
        "experiments.other.density_map",
    ]


def test_a_counter_that_stands_once_at_the_top_is_one_mistake() -> None:
    values = changed("counter", {"kind": "mccn"})
    for experiment in values["experiments"].values():
        del experiment["counter"]
    [found] = mistakes(values)
    assert found.startswith("study.yaml: counter: there is no counter 'mccn'; kinds: ")


def test_only_mistakes_of_users_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr(study_check, "training_options", broken)
    with pytest.raises(ValueError, match="broadcast") as error:
        mistakes(SMALL)
    assert not isinstance(error.value, UserError)


def test_a_density_map_that_its_loss_never_reads_is_a_mistake_and_tables_name_the_loss() -> None:
    pair = {"counter": {"kind": "mcnn"}, "dataset": "crowd", "annotation": "near", "loss": {"kind": "dm_count"}}
    values = {
        "study": "dots",
        "title": "dots",
        "datasets": {"crowd": {"source": {"kind": "synthetic"}}},
        "maps": {"near": {"dataset": "crowd", "kernel": {"kind": "fixed"}}},
        "experiments": {
            "right": pair | {"title": "right"},
            "wrong": pair | {"title": "wrong", "density_map": {"kind": "generated"}},
        },
        "publish": {"baseline": "right"},
    }
    study = check(Study, values, "study")
    [mistake] = find_mistakes(study, "study.yaml", set(), set())
    assert mistake.startswith("study.yaml: experiments.wrong.density_map: generated is of no use with loss dm_count")
    assert describe_map(study, study.experiments["right"]) == "dots, DM-Count"


def test_a_plan_whose_loss_never_reads_its_map_is_refused() -> None:
    plan = crowds.plan({"kind": "refined", "widths": [4]})
    with pytest.raises(UserError, match=r"density_map: refined is of no use with loss bayesian.*leave density_map out"):
        plan.with_values({"loss": {"kind": "bayesian"}}, "there")
