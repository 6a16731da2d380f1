"""The flow of a search, on stages that only write what they were asked for: what runs, and what becomes of the best."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from components.config.load import load_study
from components.workspace.layout import Layout
from tests import stand_in
from tests.conftest import ROOT

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
    command = (sys.executable, "-m", "flows.search", "demo", "refined")

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
