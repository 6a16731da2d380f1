"""What an interrupted run or search is resumed after: changes that its numbers do not depend on, and no others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.config.load import read_entry
from components.config.search import Search
from components.errors import UserError
from components.runs import provenance
from components.runs.provenance import data_sha256, fingerprint
from components.stages.prepare import prepare
from components.stages.rasterize import rasterize
from components.workspace import sources
from components.workspace.layout import Layout
from components.workspace.settings import plan_of_seed
from tests.conftest import ROOT
from tests.projects import TINY, write_study

WEIGHTS = Path("start.pth")
SEARCH = {"experiment": "fixed", "trials": 2, "space": {"counter.optimiser.lr": {"loguniform": [1e-5, 1e-3]}}}
STUDY = TINY | {"counter": {"kind": "mcnn", "weights": str(WEIGHTS)}, "searches": {"rate": SEARCH}}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of prepared data, with the code in it."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        layout = write_study(STUDY)
        prepare(layout, "crowd")
        rasterize(layout, "near")
    (folder / WEIGHTS).write_bytes(b"weights")
    shutil.copytree(ROOT / "components", folder / "components", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def project(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.chdir(shutil.copytree(prepared, tmp_path / "project"))
    monkeypatch.setattr(sources, "ROOT", Path.cwd())
    return Layout("tiny")


def names(layout: Layout) -> tuple[str, str]:
    """Under which the states of the unfinished run, and of the search, are kept: as their stages ask for them."""
    plan, data = plan_of_seed(layout, "fixed", 0), data_sha256(layout.prepared("crowd"), layout.maps("near"))
    options = read_entry(Search, layout.settings("searches", "rate")).model_dump(mode="json")
    return fingerprint("train", plan, {"seed": 0}, data), fingerprint("search", plan, options, data)


def study(path: str, value: object) -> Callable[[Layout], object]:
    """Another value in the study, at a path of dotted keys."""

    def change(layout: Layout) -> None:
        values = deepcopy(STUDY)
        *keys, last = path.split(".")
        node = values
        for key in keys:
            node = node.setdefault(key, {})
        node[last] = value
        write_study(values)

    return change


def code(file: str) -> Callable[[Layout], object]:
    return lambda layout: Path(file).open("a").write("# changed\n")


def move_a_dot(layout: Layout) -> None:
    file = layout.prepared("crowd").manifest
    table = pq.read_table(file)
    columns = table["x"].to_pylist()
    columns[0][0] += 0.25
    place = table.schema.get_field_index("x")
    pq.write_table(table.set_column(place, table.schema.field("x"), pa.array(columns)), file)


def change_an_array(folder: Path) -> None:
    file = next(file for file in folder.glob("*.npy") if file.name != "index.npy")
    content = np.load(file)
    content.flat[0] += 1
    np.save(file, content)


BOTH = {
    "an option of the loop": study("training.batch_size", 3),
    "an option of the counter": study("counter.optimiser.lr", 2e-4),
    "another map": study("maps.near.kernel.sigma", 5),
    "the counter's code": code("components/counters/mcnn.py"),
    "code that all counters share": code("components/networks.py"),
    "the loop's code": code("components/training/epoch.py"),
    "a dot": move_a_dot,
    "a pixel": lambda layout: change_an_array(layout.prepared("crowd").images),
    "a map": lambda layout: change_an_array(layout.maps("near")),
    "the weights to start from": lambda layout: WEIGHTS.write_bytes(b"others"),
}
NEITHER = {
    "titles": study("experiments.fixed.title", "another"),
    "another experiment": study("experiments.other", {"annotation": "near", "training": {"epochs": 2}}),
    "the code of another counter": code("components/counters/csrnet.py"),
    "code that shows": code("components/training/progress.py"),
}
SEARCH_ALONE = {
    "the space of the search": study("searches.rate.space", {"counter.optimiser.lr": {"loguniform": [1e-5, 1e-2]}}),
    "the search's code": code("components/training/ray_tune.py"),
}


@pytest.mark.parametrize("change", BOTH.values(), ids=BOTH)
def test_what_numbers_depend_on_is_not_resumed_after_a_change(project: Layout, change) -> None:
    before = names(project)
    assert names(project) == before
    change(project)
    assert [old == new for old, new in zip(before, names(project), strict=True)] == [False, False]


@pytest.mark.parametrize("change", NEITHER.values(), ids=NEITHER)
def test_other_changes_leave_it_to_be_resumed(project: Layout, change) -> None:
    before = names(project)
    change(project)
    assert names(project) == before


@pytest.mark.parametrize("change", SEARCH_ALONE.values(), ids=SEARCH_ALONE)
def test_what_a_search_alone_depends_on_leaves_the_run(project: Layout, change) -> None:
    before = names(project)
    change(project)
    assert [old == new for old, new in zip(before, names(project), strict=True)] == [True, False]


def test_libraries_that_were_updated_are_not_resumed_with(project: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    before = names(project)
    monkeypatch.setattr(provenance, "version", lambda name: "99")
    assert not set(names(project)) & set(before)


def test_a_worker_that_starts_after_the_code_was_changed_does_not_go_on(project: Layout) -> None:
    """As one that is started again in the middle of a training: it would read the new code."""
    plan = plan_of_seed(project, "fixed", 0)
    begun_with = provenance.code_sha256("train", plan)
    provenance.check_code("train", plan, begun_with)
    code("components/counters/mcnn.py")(project)
    with pytest.raises(UserError, match="its code was changed while it ran; undo the change to go on, or"):
        provenance.check_code("train", plan, begun_with)
