"""The flow of a search, on stages that only write what they were asked for: what runs, and what becomes of the best."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from components.config.load import load_study
from components.runs.registry import Registry
from components.workspace.layout import GATE, Layout
from flows.search import decide
from tests import projects, stand_in
from tests.conftest import ROOT
from tests.projects import TINY

SEARCH = """
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from components.workspace.layout import Layout

study, name = sys.argv[1:]
paths, values = Layout(study).search(name), {"density_map.alpha": 0.25}
paths.folder.mkdir(parents=True)
paths.best.write_text(yaml.safe_dump({"experiment": "refined", "trial": 1, "val_mae": 6.0, "values": values}))
trial = {"trial": 1, "status": "completed", "epochs": 2, "val_mae": 6.0, "config.density_map.alpha": 0.25}
pq.write_table(pa.Table.from_pylist([trial]), paths.trials)
with Path("ran.txt").open("a") as ran:
    print("search", name, file=ran)
"""


@pytest.mark.slow
def test_the_best_values_become_an_experiment_that_is_trained_and_nothing_else_is(tmp_path: Path) -> None:
    folder = stand_in.repository(tmp_path)
    (folder / "components/stages/search.py").write_text(SEARCH)
    home = {"PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONPATH": f".{os.pathsep}{ROOT}", "NO_COLOR": "1"}
    command = (sys.executable, "-m", "flows.search", "demo", "refined", "--no-gate")

    done = stand_in.command(folder, *command, env=stand_in.ENVIRONMENT | home)
    assert done.returncode == 0, done.stdout
    assert stand_in.ran(folder) == [
        "prepare crowd",
        "rasterize crowd-adaptive",
        "search refined",
        "train refined-searched",
        "evaluate refined-searched",
    ]
    experiments = load_study(folder / Layout("demo").params).experiments
    searched, candidate = experiments["refined"], experiments["refined-searched"]
    assert candidate.density_map.options == searched.density_map.options | {"alpha": 0.25}
    assert (candidate.counter, candidate.training, candidate.seeds) == (
        searched.counter,
        searched.training,
        searched.seeds,
    )

    status = stand_in.command(folder, sys.executable, "-m", "dvc", "status", "evaluate@refined-searched")
    assert status.stdout == "Data and pipelines are up to date.\n", "the same search again would run nothing"


def test_a_decision_is_written_down_and_the_gate_is_not_asked_twice_about_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, layout = projects.run_study(TINY)
    (tmp_path / GATE).write_text((ROOT / GATE).read_text())
    registry = Registry(str(tmp_path / "registry"))
    first = decide(layout, "fixed", registry)
    assert first.action == "record"
    assert first.decision["outcome"] == "INCONCLUSIVE", "the policy names no held-out images"
    assert first.decision["search"] == "tiny/fixed"
    assert decide(layout, "fixed", registry) == first
    assert registry.history() == [first]
    (tmp_path / GATE).write_text("{}\n")  # another policy is another question
    assert decide(layout, "fixed", registry).number == 2
