"""Every study of `params/`, shrunk, from raw layouts to its tables: an epoch, a seed, and a few tiny images a data set.

Shrunk is what takes time and nothing else: images, epochs, crops, warm-up, the pixels of figures, and the widths of the
pretrained networks, whose full ones `test_counters.py` builds. What comes down to one plan is trained once. Stages are
called as functions; only Ray, which `test_distributed.py` tests, is left out around `fit`."""

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

from components.config.resolve import Plan
from components.config.study import Study, load_study
from components.counters import csrnet, sfcn
from components.data.manifest import Prepared
from components.datasets.worldexpo import TEST_SCENES
from components.evaluation import scores as scored
from components.publish import style
from components.runs import folder as runs
from components.runs.provenance import data_files, file_hash, of_seed, record, weights_read
from components.stages import evaluate, prepare, publish, rasterize
from components.training.assemble import assemble, samples
from components.training.fit import State, fit
from components.workspace.layout import Layout
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
    return yaml.safe_load((ROOT / "params" / study / "study.yaml").read_text())


@pytest.mark.parametrize("number", TABLES)
def test_both_studies_of_a_table_ask_for_the_same_experiments(number: int) -> None:
    ours, papers = (load_study(ROOT / f"params/table-{number}{end}/study.yaml") for end in ("", "-paper"))
    assert list(ours.experiments) == list(papers.experiments)
    for name, experiment in ours.experiments.items():
        same = papers.experiments[name].model_copy(update={"preset": "stable"})
        assert (experiment, papers.experiments[name].preset) == (same, "paper")
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
        part = Path(f"part_{source['part']}") if "part" in source else Path()
        tiny = {"images": 8, "height": 48, "width": 64} if kind == "synthetic" else {"root": str(raw / kind / part)}
        entry["source"] = source | tiny
    values["training"] = _small(values["training"])
    for experiment in values["experiments"].values():
        experiment["seeds"] = [0]
        if experiment["counter"]["kind"] in ("csrnet", "sfcn"):
            experiment["counter"]["weights"] = "none"
        if experiment.get("density_map", {}).get("kind") in ("refined", "generated", "kernel"):
            experiment["density_map"] |= {"warm_up": min(experiment["density_map"].get("warm_up", 1), 1)}
        if "training" in experiment:
            experiment["training"] = _small(experiment["training"])
    values["publish"]["bootstrap"] = 100
    return values


def _small(training: dict[str, Any]) -> dict[str, Any]:
    return training | SMALL | ({"crop": [64, 64]} if training.get("crop") else {})


@dataclass
class Project:
    """A folder in which studies run, and what was trained there."""

    raw: Path
    trained: dict[str, tuple[State, dict[str, Any]]] = field(default_factory=dict)

    def write(self, name: str) -> tuple[Study, Layout]:
        layout = Layout(name)
        layout.params.parent.mkdir(parents=True)
        layout.params.write_text(yaml.safe_dump(shrunk(name, self.raw), sort_keys=False))
        return load_study(layout.params), layout

    def train(self, study: Study, layout: Layout, name: str) -> State:
        """The run of an experiment's one seed in its folder, as the stage leaves it but for its pictures."""
        resolved = of_seed(study, layout, name, 0)
        prepared, maps = layout.prepared(resolved.dataset), layout.maps(study.experiments[name].annotation)
        files = data_files(prepared, maps)
        key = f"{_essence(resolved)} {file_hash([*files, *weights_read(resolved)])}"
        if key not in self.trained:
            self.trained[key] = _fitted(resolved, prepared, maps, files)
        state, said = self.trained[key]
        runs.save(layout.run(name, 0), resolved, state, said | {"study": study.study, "experiment": name})
        return state


def _essence(plan: Plan) -> str:
    """What a run depends on besides its files."""
    named = {"study", "experiment", "title", "dataset", "annotation"}
    return str(plan.model_dump(exclude=named | {"density_map"})) + str(
        plan.density_map.model_copy(update={"run": ""}) if plan.density_map.kind == "frozen" else plan.density_map
    )


def _fitted(plan: Plan, prepared: Path, maps: Path, files: list[Path]) -> tuple[State, dict[str, Any]]:
    model = assemble(plan, 0)
    training, validation = samples(plan, 0, prepared, maps, model.stride)
    started_from = model.counter.start()
    state = fit(model, training, validation, plan.training, report=lambda *_: None)
    return state, record(plan, 0, state, started_from, files, "64 x 48")


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
    study, layout = project.write(name)
    for dataset in study.datasets:
        prepare.main(study, layout, dataset)
    for drawn in study.maps:
        rasterize.rasterize(study, layout, drawn)
    for experiment in sorted(study.experiments, key=lambda each: study.source(each) is not None):
        [epoch] = project.train(study, layout, experiment)["history"]
        assert all(math.isfinite(value) for value in epoch.values())
        evaluate.evaluate(study, layout, experiment)
    for experiment, entry in study.experiments.items():
        found = scored.read(layout.scores(experiment))
        tested = Prepared(layout.prepared(entry.dataset)).split("test")
        assert (found.seeds, set(found.ids)) == ((0,), {row.id for row in tested})
        assert np.isfinite(found.prediction).all()

    publish.publish(study, layout)
    results = layout.results.read_text()
    assert all(entry.title in results for entry in study.experiments.values())
    assert layout.report.exists()
    for number in study.publish.tables:
        cells = ours(layout.results.with_name(f"table-{number}.csv"))
        run = [float(cell) for cell in cells if cell != "not run"]
        assert (len(cells), len(run)) == (CELLS[number], RUN.get(name, CELLS[number]))
        assert np.isfinite(run).all()


def ours(table: Path) -> list[str]:
    """What stands in a table against figures of the paper: a number, or why there is none."""
    with table.open() as lines:
        cells = [pair for row in csv.DictReader(lines) for pair in row.items()]
    return [cell for column, cell in cells if column.endswith(" ours") and cell]
