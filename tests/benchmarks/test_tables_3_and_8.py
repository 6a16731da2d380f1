"""The script that trains tables 3 and 8 without Ray: a tiny try from raw data to tables, and a run that goes on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from benchmarks.gpu import tables_3_and_8
from components.config.load import load_study
from components.config.options import Choice
from components.errors import UserError
from components.evaluation.scores import read_scores
from components.publish import style
from components.publish.results import evaluated
from components.publish.study_report import collect_rows
from components.training.assemble import open_data
from components.workspace.layout import Layout
from tests import crowds
from tests.conftest import ROOT
from tests.raw.make import write_pair

SMALLER = {
    "batch_size: 4, crop: [384, 512]": "batch_size: 2, crop: [32, 32]",
    "{kind: generated}": "{kind: generated, warm_up: 1}",
    "{kind: refined}": "{kind: refined, warm_up: 1, widths: [4, 4, 4, 4, 4]}",
}
B = ["b-mcnn-fixed-16", "b-mcnn-fixed-4", "b-mcnn-adaptive", "b-mcnn-generated", "refined"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The two studies with small crops, and both parts of ShanghaiTech with three training and two test images."""
    for number in (3, 7, 8):
        text = (ROOT / f"params/table-{number}/study.yaml").read_text()
        for old, new in SMALLER.items():
            text = text.replace(old, new)
        file = tmp_path / f"params/table-{number}/study.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    for part in ("A", "B"):
        for seed, (half, number) in enumerate((("train", 1), ("train", 2), ("train", 3), ("test", 1), ("test", 2))):
            write_pair(tmp_path / f"data/shanghaitech/part_{part}/{half}_data", "ground-truth", number, seed)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(style, "DPI", 20)
    return tmp_path


@pytest.mark.slow
def test_a_try_goes_from_raw_data_to_the_tables_and_is_not_done_twice(project: Path) -> None:
    layout = tables_3_and_8.run("mcnn", ["part-b"], limit=1, epochs=1)
    study = load_study(layout.params)
    assert (layout.study, [*study.experiments]) == ("tables-3-and-8-mcnn-try", B)
    rows = pq.read_table(layout.prepared("part-b").manifest).to_pylist()
    assert sorted(row["split"] for row in rows) == ["test", "train", "val"]
    assert len(evaluated(collect_rows(study, layout))) == len(B)
    assert read_scores(layout.scores("refined")).seeds == (0,)
    with (layout.tables / "table-3.csv").open() as lines:
        cells = {(row["Counter"], row["Density map"]): row for row in csv.DictReader(lines)}
    assert float(cells["MCNN", "generated"]["ShanghaiTech B, MAE ours"]) > 0
    assert cells["CSRNet", "generated"]["ShanghaiTech B, MAE ours"] == "not run"

    record = json.loads(layout.run("refined", 0).record.read_text())
    assert record["training_run"]["epochs"] == 1
    assert record["provenance"]["started_from"] == "random initialisation"
    before = {file: file.read_bytes() for part in ("runs", "scores") for file in (layout.out / part).rglob("*.*")}
    tables_3_and_8.run("mcnn", ["part-b"], limit=1, epochs=1)
    assert {file: file.read_bytes() for file in before} == before
    assert not [*Path(".dotfield/gpu").iterdir()]


def test_a_stopped_run_goes_on_after_its_last_epoch_and_ends_as_a_whole_one(tmp_path: Path) -> None:
    made = open_data(*crowds.write(tmp_path, [(32, 48)] * 4, ["train", "train", "train", "val"]))
    plan, heard = crowds.plan({"kind": "generated", "warm_up": 1}, epochs=3), []

    def stop_after_the_first(done: float, record: dict | None) -> None:
        if record:
            heard.append(record["epoch"])
            if heard == [1]:
                raise KeyboardInterrupt

    whole, _ = tables_3_and_8.fit_run(plan, 0, made, tmp_path / "whole.pt", lambda done, record: None)
    with pytest.raises(KeyboardInterrupt):
        tables_3_and_8.fit_run(plan, 0, made, tmp_path / "stopped.pt", stop_after_the_first)
    stopped, started_from = tables_3_and_8.fit_run(plan, 0, made, tmp_path / "stopped.pt", stop_after_the_first)
    assert (heard, started_from) == ([1, 2, 3], "random initialisation")
    assert [each["loss"] for each in stopped["history"]] == [each["loss"] for each in whole["history"]]
    assert all(torch.equal(stopped["model"][name], tensor) for name, tensor in whole["model"].items())


def test_the_study_has_the_experiments_of_both_tables_once_with_the_counter_asked_for(project: Path) -> None:
    layout = tables_3_and_8.write_study(Choice(kind="csrnet", weights="random"), None)
    study = load_study(layout.params)
    assert layout.study == "tables-3-and-8-csrnet"
    asked = [(each.dataset, each.published) for each in study.experiments.values()]
    of_table_3 = [
        (part, key) for part in ("part-a", "part-b") for key in ("fixed_16", "fixed_4", "adaptive", "generator")
    ]
    assert asked == [*of_table_3, ("part-b", "refined")]
    assert {each.counter for each in study.experiments.values()} == {Choice(kind="csrnet", weights="random")}
    assert {each.seeds for each in study.experiments.values()} == {(0, 1, 2)}
    assert study.experiments["refined"].annotation == "part-b-adaptive"
    assert study.publish.tables == (3, 8)
    assert (study.publish.baseline, [*study.publish.compared]) == ("a-csrnet-fixed-4", ["b-csrnet-fixed-4"])


@pytest.mark.parametrize(
    ("counter", "datasets", "said"),
    [
        ("mcn", None, r"^--counter: there is no counter 'mcn'; kinds: .*mcnn[^\n]*$"),
        ("{kind: mcnn, chanels: 1}", None, r"chanels"),
        ("[mcnn]", None, r"--counter \[mcnn\]: write a kind"),
        ("mcnn", ["part-c"], r"--datasets part-c: there is no such data set; data sets: part-a, part-b"),
    ],
)
def test_a_mistake_is_named_before_anything_is_written(project: Path, counter: str, datasets, said: str) -> None:
    with pytest.raises(UserError, match=said):
        tables_3_and_8.run(counter, datasets, None, None)
    assert sorted(folder.name for folder in Path("params").iterdir()) == ["table-3", "table-7", "table-8"]


def test_absent_data_are_named_with_where_to_get_them(project: Path) -> None:
    Path("data").rename("elsewhere")
    with pytest.raises(UserError, match=r"datasets\.part-b\.source: root: there is no folder data/shanghaitech/part_B"):
        tables_3_and_8.run("mcnn", ["part-b"], 1, 1)
    assert not Layout("tables-3-and-8-mcnn-try").params.exists()
