"""The list of code that each stage's results depend on, against what the stages import."""

from __future__ import annotations

from pathlib import Path

import grimp
import pytest

from components.config.plugins import FAMILIES, kinds
from components.workspace import sources
from tests.conftest import ROOT

EARLIER = {  # stages whose outputs a stage reads: what they depend on, it depends on
    "prepare": ("resolve",),
    "rasterize": ("resolve", "prepare"),
    "train": ("resolve", "prepare", "rasterize"),
    "evaluate": ("resolve", "prepare", "rasterize", "train"),
    "search": ("resolve", "prepare", "rasterize"),
    "publish": ("resolve", "prepare", "rasterize", "train", "evaluate"),
}
CHANGES_NO_NUMBER = {
    "config.families": "which kinds there are",
    "config.load": "reads studies and settings; for the stage resolve it is listed",
    "config.plugins": "decides options; where their values matter it is listed",
    "config.search": "what a search varies; for the stage search it is listed",
    "config.resolve": "checks options; where their values matter it is listed",
    "crowd": "types; where what it computes matters it is listed",
    "data.availability": "says what raw data is missing",
    "errors": "how a mistake is named",
    "evaluation.metrics": "the package: finds metrics",
    "publish.figures": "how the curves of a run look",
    "publish.style": "how the curves of a run look",
    "runs.folder": "how a run is stored; where that is what a stage writes or reads it is listed",
    "density_maps.learned.generated": "the figures look into generators; what these make is listed for training",
    "runs.provenance": "what a run's record says of it, and under what name it is resumed",
    "training.checkpoints": "where an interrupted run goes on from",
    "training.loggers": "write curves for other tools",
    "training.ray_cluster": "starts the processes that train",
    "training.node_data": "brings the data to other nodes, checked by their hash",
    "training.progress": "what is shown meanwhile, and what a record says of it",
    "training.ray_reports": "checkpoints, and what is told meanwhile",
    "training.watchdog": "ends a worker that hangs",
    "workspace.dvc_yaml": "writes dvc.yaml",
    "workspace.environment": "how often and how long, by the environment",
    "workspace.layout": "where files lie",
    "workspace.lock": "where an interrupted run waits",
    "workspace.processes": "how a stage is called and ends",
    "workspace.progress": "what is shown meanwhile",
    "workspace.sources": "this list",
}
GRAPH = grimp.build_graph("components", cache_dir=None)


@pytest.mark.parametrize("stage", sources.CODE)
def test_a_stage_depends_on_all_the_code_that_it_imports(stage: str) -> None:
    """Itself, or through the stages whose outputs it reads; else results would outlive the code that made them."""
    imported = GRAPH.find_upstream_modules(f"components.stages.{stage}") - _packages()
    entries = {entry for each in (stage, *EARLIER.get(stage, ())) for entry in sources.CODE[each]}
    code = [entry.removesuffix(".py").replace("/", ".") for entry in entries if "{" not in entry]
    covered = {module for module in imported if any(f"{module}.".startswith(f"{part}.") for part in code)}
    assert imported - covered <= {f"components.{module}" for module in CHANGES_NO_NUMBER}


@pytest.mark.parametrize("stage", sources.CODE)
def test_no_stage_imports_a_kind(stage: str) -> None:
    """Kinds are found by name: an import would be code of one kind on which every experiment depends unseen."""
    every = {f"components.{FAMILIES[family]}.{kind}" for family in FAMILIES for kind in kinds(family)}
    allowed = {"components.density_maps.learned.generated"} if stage == "publish" else set()
    assert (GRAPH.find_upstream_modules(f"components.stages.{stage}") & every) - allowed <= _metrics()


@pytest.mark.parametrize("family", sources.KINDS)
def test_every_kind_has_the_file_that_the_list_names(family: str) -> None:
    entry = sources.KINDS[family]
    for kind in kinds(family):
        assert (ROOT / entry.format_map({family.replace(" ", "_"): kind})).is_file()


def test_a_kind_imports_no_other_kind_of_its_family_but_those_that_are_listed() -> None:
    """Such an import would be a dependency that the list does not see."""
    found = {
        (kind, other)
        for family in sources.KINDS
        for kind in kinds(family)
        for other in kinds(family)
        if kind != other
        and f"components.{FAMILIES[family]}.{other}"
        in GRAPH.find_upstream_modules(f"components.{FAMILIES[family]}.{kind}")
    }
    assert found == {("frozen", "generated")}


@pytest.mark.parametrize("stage", sources.CODE)
def test_the_code_that_is_listed_exists_and_stands_once(stage: str) -> None:
    entries = [entry for entry in sources.CODE[stage] if "{" not in entry]
    assert [entry for entry in entries if not (ROOT / entry).exists()] == []
    assert len(set(sources.CODE[stage])) == len(sources.CODE[stage])


def test_code_files_are_those_of_the_kinds_that_are_named() -> None:
    kinds = {"drawn_map": "fixed", "counter": "mcnn", "density_map": "mixture", "loss": "bayesian"}
    files = sources.code_files("train", kinds)
    names = {file.relative_to(ROOT).as_posix() for file in files}
    assert {"components/counters/mcnn.py", "components/density_maps/learned/mixture.py"} <= names
    assert not names & {"components/counters/csrnet.py", "components/losses/dm_count.py", "components/cli/studies.py"}


def test_the_hash_of_files_follows_their_contents(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("1")
    second.write_text("2")
    before = sources.hash_files([first, second])
    assert sources.hash_files([second, first]) != before
    second.write_text("3")
    assert sources.hash_files([first, second]) != before


def _packages() -> set[str]:
    """Packages, whose own files only say what the folder holds."""
    return {".".join(file.parent.relative_to(ROOT).parts) for file in ROOT.glob("components/**/__init__.py")}


def _metrics() -> set[str]:
    return {"components.evaluation.metrics.mae", "components.evaluation.metrics.rmse"}
