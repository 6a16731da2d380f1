"""A study's pipeline: what its lines may hold, and that the committed ones are those that would be written."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest
import yaml

from components.errors import UserError
from components.stages.resolve import resolve
from components.workspace import dvc_yaml
from components.workspace.layout import DEMO, Layout
from tests.conftest import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
BODIES = {name: stage.get("do", stage) for name, stage in STAGES.items()}


@pytest.fixture(autouse=True)
def _at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def written(study: str) -> dict:
    layout = Layout(study)
    return yaml.safe_load(dvc_yaml.pipeline(layout, dvc_yaml.load(layout)))


@pytest.mark.parametrize("name", BODIES)
def test_a_command_carries_only_names(name: str) -> None:
    assert re.fullmatch(rf"python -m components\.stages\.{name} \${{study}}( \${{key}})?", BODIES[name]["cmd"])


@pytest.mark.parametrize("name", BODIES)
def test_a_dependency_stands_once_and_exists(name: str) -> None:
    deps = BODIES[name]["deps"]
    assert len(set(deps)) == len(deps)
    assert [file for file in deps if "$" not in file and not (ROOT / file).exists()] == []


@pytest.mark.parametrize(
    "file", [ROOT / "dvc.yaml", *ROOT.glob("params/*/dvc.yaml")], ids=lambda file: file.parent.name
)
def test_a_committed_pipeline_is_the_one_that_would_be_written(file: Path) -> None:
    layout = Layout(DEMO if file.parent == ROOT else file.parent.name)
    assert file.read_text() == dvc_yaml.pipeline(layout, dvc_yaml.load(layout))


def test_what_dvc_shows_lies_where_the_stages_write_it() -> None:
    """Paths are relative to the folder of the pipeline, which is not that of its stages."""
    shown = {study: written(study) for study in ("demo", "shanghaitech-b-small")}
    assert shown["demo"]["params"] == ["out/demo/settings/params.yaml"]
    assert shown["demo"]["metrics"] == ["out/demo/published/metrics.json"]
    [errors, _] = shown["shanghaitech-b-small"]["plots"]
    runs = [Path("params/shanghaitech-b-small", file) for file in errors["val_mae"]["y"]]
    assert {os.path.normpath(file).split("/")[:3][-1] for file in runs} == {"runs"}
    assert len(runs) == sum(
        len(each.seeds) for each in dvc_yaml.load(Layout("shanghaitech-b-small")).experiments.values()
    )


def test_maps_of_another_experiments_generator_wait_for_its_runs() -> None:
    pipeline = written("table-6")
    [experiments] = [each["experiments"] for each in pipeline["vars"] if "experiments" in each]
    waiting = {name for name, item in experiments.items() if item["file_1"] == "out/table-6/runs/generated-csrnet"}
    assert waiting == {"mcnn-for-csrnet", "fcn-for-csrnet", "sfcn-for-csrnet"}
    assert "${item.file_1}" in pipeline["stages"]["train"]["do"]["deps"]
    assert all(item["file_2"].endswith("learned/generated.py") for name, item in experiments.items() if name in waiting)
    assert all((ROOT / item["file_1"]).is_file() for name, item in experiments.items() if name not in waiting)


@pytest.mark.parametrize("file", list(ROOT.glob("params/*/study.yaml")), ids=lambda file: file.parent.name)
def test_no_study_shares_values_by_aliases(file: Path) -> None:
    """`dvc exp run -S` writes a mapping that several experiments share once for each of them, and the last one wins:
    what was set is lost without a word, or set in all of them."""
    assert not any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(file.read_text()))


def study(folder: Path, **changes: object) -> Layout:
    """The demo with other values, as the study `own` of a project in `folder`."""
    values = yaml.safe_load((ROOT / "params/demo/study.yaml").read_text()) | {"study": "own"} | changes
    layout = Layout("own")
    (folder / layout.params).parent.mkdir(parents=True, exist_ok=True)
    (folder / layout.params).write_text(yaml.safe_dump(values))
    return layout


def test_a_study_must_bear_the_name_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = study(tmp_path, study="other")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"params/own/study\.yaml: study: must be 'own'.*not 'other'"):
        dvc_yaml.write(layout)


def test_files_that_options_name_are_dependencies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations outside the root, and weights; what lies within the root is in it already."""
    values = yaml.safe_load((ROOT / "params/demo/study.yaml").read_text())
    values["datasets"]["crowd"]["source"] = {"kind": "points", "root": "data/images", "annotations": "data/dots.csv"}
    values["experiments"]["fixed"]["counter"] = {"kind": "mcnn", "weights": "data/mcnn.h5"}
    layout = study(tmp_path, datasets=values["datasets"], experiments=values["experiments"])
    monkeypatch.chdir(tmp_path)
    pipeline = yaml.safe_load(dvc_yaml.pipeline(layout, dvc_yaml.load(layout)))
    variables = {family: entries for each in pipeline["vars"] for family, entries in each.items()}
    assert variables["datasets"]["crowd"] == {"kind": "points", "file_1": "data/images", "file_2": "data/dots.csv"}
    assert variables["experiments"]["fixed"]["file_1"] == "data/mcnn.h5"
    assert variables["experiments"]["mixture"]["file_1"] == dvc_yaml.DOCSTRINGS[0]
    assert {"${item.file_1}", "${item.file_2}"} <= {*pipeline["stages"]["prepare"]["do"]["deps"]}

    values["datasets"]["crowd"]["source"]["annotations"] = "data/images/dots.csv"
    pipeline = dvc_yaml.pipeline(study(tmp_path, datasets=values["datasets"]), dvc_yaml.load(layout))
    assert "data/images/dots.csv" not in pipeline


def test_files_that_stand_for_none_hold_a_docstring_and_another_entry_changes_no_ones_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in dvc_yaml.DOCSTRINGS:
        [docstring] = ast.parse((ROOT / file).read_text()).body
        assert isinstance(docstring, ast.Expr)
    values = yaml.safe_load((ROOT / "params/demo/study.yaml").read_text())
    before = written("demo")["vars"][3]["experiments"]["mixture"]
    values["experiments"]["fixed"]["counter"] = {"weights": "data/mcnn.h5"}
    layout = study(tmp_path, experiments=values["experiments"])
    monkeypatch.chdir(tmp_path)
    pipeline = yaml.safe_load(dvc_yaml.pipeline(layout, dvc_yaml.load(layout)))
    assert pipeline["vars"][3]["experiments"]["fixed"]["file_1"] == "data/mcnn.h5"
    assert pipeline["vars"][3]["experiments"]["mixture"] == before


def test_a_pipeline_of_other_entries_is_out_of_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = study(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"params/own/dvc.yaml: no such file; `dotfield run own` writes it"):
        resolve(layout)
    dvc_yaml.write(layout)
    resolve(layout)
    values = yaml.safe_load(layout.params.read_text())
    values["experiments"]["new"] = values["experiments"]["fixed"] | {"title": "new"}
    layout.params.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=r"experiments are not those of params/own/dvc.yaml: `dotfield run own`"):
        resolve(layout)
