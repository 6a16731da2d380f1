"""Every study of `params/`, shrunk, from raw layouts to its tables: an epoch, a seed, and a few tiny images a data set.

Shrunk is what takes time and nothing else: images, epochs, crops, warm-up, the pixels of figures, and the widths of the
pretrained networks, whose full ones `test_counters.py` builds. What comes down to one plan is trained once. Stages are
called as functions; only Ray, which `test_ray_train.py` tests, is left out around `fit`."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from components.config.load import load_study
from components.config.resolve import Plan
from components.config.study import Defaults
from components.counters import csrnet, sfcn
from components.data.manifest import Prepared
from components.datasets.worldexpo import TEST_SCENES
from components.evaluation.scores import read_scores
from components.publish import style
from components.runs.folder import read_record, read_weights
from components.runs.provenance import data_sha256
from components.stages.publish import publish
from components.training.assemble import TrainingData
from components.training.fit import State
from components.workspace.layout import PreparedPaths, RunPaths
from tests import projects
from tests.conftest import ROOT
from tests.raw import crowds
from tests.raw.make import write_pair
from tests.raw.tools import save_image

STUDIES = sorted(path.parent.name for path in ROOT.glob("params/*/study.yaml"))
TABLES = range(2, 11)
CELLS = {2: 32, 3: 32, 4: 6, 5: 4, 6: 15, 7: 4, 8: 4, 9: 4, 10: 12}  # of the authors' own, in each table
RUN = {"shanghaitech-b-small": 4}  # cells of a study that asks for a part of its table: table 3's MCNN on part B
FRONT_END = (4, 4, "pool", 4, 4, "pool", 4, 4, 4, "pool", 4, 4, 512)
NARROW = {csrnet: (8, 8, 8, 8, 8, 8), sfcn: (8, 8, 8, 8, 8, 64)}
SMALL = {"epochs": 1, "batch_size": 1}


def written(study: str) -> dict[str, Any]:
    """A study as it is loaded, without defaults for all experiments: those stand in each experiment."""
    loaded = load_study(ROOT / "params" / study / "study.yaml")
    return loaded.model_dump(mode="json", exclude_unset=True, exclude=set(Defaults.model_fields) | {"extends"})


@pytest.mark.parametrize("number", TABLES)
def test_both_studies_of_a_table_ask_for_the_same_experiments(number: int) -> None:
    ours, papers = (load_study(ROOT / f"params/table-{number}{end}/study.yaml") for end in ("", "-paper"))
    assert list(ours.experiments) == list(papers.experiments)
    for name, experiment in ours.experiments.items():
        paper = papers.experiments[name]
        assert paper.model_copy(update={"preset": "stable", "training": experiment.training}) == experiment
        assert (paper.preset, experiment.preset) == ("paper", "stable")
    assert (ours.maps, ours.datasets, ours.publish) == (papers.maps, papers.datasets, papers.publish)
    assert ours.publish.tables == (number,)


@pytest.mark.parametrize("number", [2, 3, 4, 5, 6])
def test_a_tables_experiments_are_all_its_cells(number: int) -> None:
    """By data set, counter and key, as `published.yaml` has them; table 6 takes its generator from table 3's CSRNet."""
    sections = yaml.safe_load((ROOT / "components/publish/published.yaml").read_text())["sections"]
    printed = {
        (name[-1], row["counter"].lower(), row["key"])
        for name, section in sections.items()
        for table in section["tables"]
        if table["table"] == number
        for row in table["rows"]
    }
    study = load_study(ROOT / f"params/table-{number}/study.yaml")
    asked = [(each.dataset[-1], each.counter.kind, each.published) for each in study.experiments.values()]
    assert sorted(printed | ({("a", "csrnet", "generator")} if number == 6 else set())) == sorted(asked)


def shanghaitech(root: Path) -> None:
    """Parts A and B hold the same pictures, so that what is trained on one need not be trained on the other."""
    for part in ("A", "B"):
        for seed, (half, number) in enumerate((("train", 1), ("train", 2), ("train", 3), ("test", 1), ("test", 2))):
            write_pair(root / f"part_{part}/{half}_data", "ground-truth", number, seed)


def ucf_qnrf(root: Path) -> None:
    for seed, name in enumerate(("Train/img_0001", "Train/img_0002", "Test/img_0001")):
        crowds.save_mat(root / f"{name}_ann.mat", annPoints=save_image(root / f"{name}.jpg", seed))


def ucf_cc_50(root: Path) -> None:
    """An image a fold."""
    for seed, number in enumerate((1, 11, 21, 31, 41)):
        crowds.save_mat(root / f"{number}_ann.mat", annPoints=save_image(root / f"{number}.jpg", seed, "L"))


def worldexpo(root: Path) -> None:
    """Two frames of a training scene and one of each test scene; the region is the left three quarters."""
    corners = ((0, 0), (48, 0), (48, 48), (0, 48))
    crowds.worldexpo(root, corners)
    crowds.frame(root, "train", "100156", seed=2, corners=corners)
    for seed, scene in enumerate(TEST_SCENES[1:], 3):
        crowds.frame(root, "test", scene, seed, corners)


def shrunk(study: str, raw: Path) -> dict[str, Any]:
    """A study as it is written, but small."""
    values = written(study)
    for entry in values["datasets"].values():
        source = entry["source"]
        kind = source["kind"]
        part = Path(f"part_{source['part']}") if source.get("part", "both") != "both" else Path()
        tiny = {"images": 8, "height": 48, "width": 64} if kind == "synthetic" else {"root": str(raw / kind / part)}
        entry["source"] = source | tiny
    for experiment in values["experiments"].values():
        experiment["seeds"] = [0]
        if experiment["counter"]["kind"] in ("csrnet", "sfcn"):
            experiment["counter"]["weights"] = "random"
        if experiment.get("density_map", {}).get("kind") in ("refined", "generated", "kernel"):
            experiment["density_map"] |= {"warm_up": min(experiment["density_map"].get("warm_up", 1), 1)}
        experiment["training"] = _small(experiment["training"])
    values["publish"]["bootstrap"] = 100
    return values


def _small(training: dict[str, Any]) -> dict[str, Any]:
    side = 24 if training.get("augmentation") else 64  # images of 64 x 48 stay larger when they are scaled down
    return training | SMALL | ({"crop": [side, side]} if training.get("crop") else {})


@dataclass
class Project:
    """A folder in which studies run, and what was trained there."""

    raw: Path
    trained: dict[str, tuple[State, str]] = field(default_factory=dict)

    def fit_plan(self, plan: Plan, seed: int, data: TrainingData) -> tuple[State, str]:
        """Train a run, or take what was trained before of the same options, data and files."""
        files = [RunPaths(path).best if path.is_dir() else path for path in plan.named_files()]
        prepared, maps = PreparedPaths(data.prepared_folder), data.maps_folder
        key = f"{_essence(plan)} {seed} {data_sha256(prepared, maps)} {_tensors(files)}"
        if key not in self.trained:
            self.trained[key] = projects.fit_plan(plan, seed, data)
        return self.trained[key]


def _essence(plan: Plan) -> str:
    """What a run depends on besides its files."""
    named = {"study", "experiment", "dataset", "annotation"}
    values = {key: value for key, value in plan.plain().items() if key not in named}
    if values["density_map"]["kind"] == "frozen":
        values["density_map"] = "frozen"
    return str(values)


def _tensors(files: list[Path]) -> list[float]:
    """The sums of the tensors in weights files, whose headers name the study."""
    return [float(sum(each.double().abs().sum() for each in read_weights(file).tensors.values())) for file in files]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Made data sets in their official layouts, an empty project beside them, and narrow networks."""
    folder = tmp_path_factory.mktemp("studies")
    for tree in (shanghaitech, ucf_qnrf, ucf_cc_50, worldexpo):
        tree(folder / "data" / tree.__name__)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for module, back_end in NARROW.items():
            patch.setattr(module, "FEATURES", FRONT_END)
            patch.setattr(module, "BACK_END", back_end)
        patch.setattr(style, "DPI", 20)
        yield Project(folder / "data")


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs_from_raw_data_to_its_tables(name: str, project: Project) -> None:
    study, layout = projects.run_study(shrunk(name, project.raw), project.fit_plan)
    for experiment, entry in study.experiments.items():
        record = read_record(layout.run(experiment, 0))
        assert record is not None
        assert math.isfinite(record["validation"]["mae"])
        found = read_scores(layout.scores(experiment))
        tested = Prepared(layout.prepared(entry.dataset).folder).split("test")
        assert (found.seeds, set(found.ids)) == ((0,), {row.id for row in tested})
        assert np.isfinite(found.prediction).all()

    publish(layout)
    results = (layout.tables / "results.md").read_text()
    assert all(entry.title in results for entry in study.experiments.values())
    assert layout.report.exists()
    for number in study.publish.tables:
        cells = ours(layout.tables / f"table-{number}.csv")
        run = [float(cell) for cell in cells if cell != "not run"]
        assert (len(cells), len(run)) == (CELLS[number], RUN.get(name, CELLS[number]))
        assert np.isfinite(run).all()


def ours(table: Path) -> list[str]:
    """What stands in a table against figures of the paper: a number, or why there is none."""
    with table.open() as lines:
        cells = [pair for row in csv.DictReader(lines) for pair in row.items()]
    return [cell for column, cell in cells if column.endswith(" ours") and cell]
