"""The best values of a search go into the study: comments stay, nothing else changes; errors change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.config.load import load_study
from components.errors import UserError
from components.workspace.apply_search import add_searched, apply_search
from components.workspace.layout import Layout

STUDY = """# What this study is about
study: small
title: Small
datasets:
  crowd: {source: {kind: synthetic, images: 12}}
maps:
  near: {dataset: crowd, kernel: {kind: fixed, sigma: 4}}  # pixels
dataset: crowd
counter: {kind: mcnn}
training: {epochs: 1, batch_size: 4}
experiments:
  # hand-made
  fixed: {title: fixed, annotation: near}
  refined: {title: refined, annotation: near, density_map: {kind: refined}}
searches:
  best: {experiment: refined, space: {density_map.alpha: {uniform: [0, 1]}, counter.optimiser.lr: {uniform: [0, 1]}}}
publish: {baseline: fixed}
"""
BEST = {"density_map.alpha": 0.125, "counter.optimiser.lr": 0.0005}


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """The study of a project whose search ended with `BEST`."""
    monkeypatch.chdir(tmp_path)
    layout = Layout("small")
    layout.params.parent.mkdir(parents=True)
    layout.params.write_text(STUDY)
    layout.search("best").folder.mkdir(parents=True)
    best = {"experiment": "refined", "trial": 3, "val_mae": 1.0, "values": BEST}
    layout.search("best").best.write_text(yaml.safe_dump(best))
    return layout


def test_the_searched_experiment_gets_the_values_and_nothing_else_changes(layout: Layout) -> None:
    before = load_study(layout.params)
    assert apply_search(layout, "best") == BEST
    after = load_study(layout.params)
    assert after.experiments["refined"].density_map.options == {"alpha": 0.125}
    assert after.experiments["refined"].counter.options == {"optimiser": {"lr": 0.0005}}
    assert after.experiments["fixed"] == before.experiments["fixed"]
    lines = layout.params.read_text().splitlines()
    assert [line for line in STUDY.splitlines() if line not in lines] == [STUDY.splitlines()[13]]
    assert [path.name for path in layout.params.parent.iterdir()] == ["study.yaml"]


def test_values_that_are_there_are_replaced(layout: Layout) -> None:
    apply_search(layout, "best")
    text = layout.params.read_text()
    apply_search(layout, "best")
    assert layout.params.read_text() == text


def test_a_mapping_shared_by_an_alias_is_refused_and_the_file_left_alone(layout: Layout) -> None:
    aliased = STUDY.replace(
        "density_map: {kind: refined}}",
        "density_map: &map {kind: refined}}\n  twin: {title: twin, annotation: near, density_map: *map}",
    )
    layout.params.write_text(aliased)
    with pytest.raises(UserError, match="refined shares its mapping with twin by a YAML alias"):
        apply_search(layout, "best")
    assert layout.params.read_text() == aliased


@pytest.mark.parametrize("values", [{"density_map.kind": "nonsense"}, {"density_map.alpha": -1}, {"nothing.x": 1}])
def test_a_value_that_is_not_allowed_leaves_the_file_alone(layout: Layout, values: dict) -> None:
    best = {"experiment": "refined", "trial": 3, "val_mae": 1.0, "values": values}
    layout.search("best").best.write_text(yaml.safe_dump(best))
    with pytest.raises(UserError, match=r"study\.yaml: experiments\.refined"):
        apply_search(layout, "best")
    assert layout.params.read_text() == STUDY


def test_searches_that_are_not_there_or_have_not_ended(layout: Layout) -> None:
    with pytest.raises(UserError, match="there is no search 'other'; searches: best"):
        apply_search(layout, "other")
    for torn in ("", "values: {", "experiment: nobody\nvalues: {}\n"):
        layout.search("best").best.write_text(torn)
        with pytest.raises(UserError, match=r"best\.yaml: .*; run the search again"):
            apply_search(layout, "best")
    layout.search("best").best.unlink()
    with pytest.raises(UserError, match="the search has not ended"):
        apply_search(layout, "best")


def test_the_best_values_become_an_experiment_beside_the_one_that_was_searched(layout: Layout) -> None:
    before = load_study(layout.params)
    assert add_searched(layout, "best") == "best-searched"
    after = load_study(layout.params)
    searched, candidate = before.experiments["refined"], after.experiments["best-searched"]
    assert {name: each for name, each in after.experiments.items() if name != "best-searched"} == before.experiments
    assert candidate.density_map.options == {"alpha": 0.125}
    assert candidate.counter.options == {"optimiser": {"lr": 0.0005}}
    assert (candidate.training, candidate.seeds, candidate.title) == (
        searched.training,
        searched.seeds,
        "refined, best of search best",
    )
    text = layout.params.read_text()
    assert add_searched(layout, "best") == "best-searched"
    assert layout.params.read_text() == text, "one of an earlier search is replaced"


def test_the_experiment_that_was_searched_may_stand_in_a_study_that_is_extended(layout: Layout) -> None:
    extending = Layout("larger")
    extending.params.parent.mkdir()
    extending.params.write_text("study: larger\ntitle: Larger\nextends: small\ntraining: {epochs: 9}\n")
    layout.search("best").folder.parent.parent.rename(extending.out)
    add_searched(extending, "best")
    candidate = load_study(extending.params).experiments["best-searched"]
    assert candidate.training == {"epochs": 9, "batch_size": 4}
    assert candidate.density_map.options == {"alpha": 0.125}
