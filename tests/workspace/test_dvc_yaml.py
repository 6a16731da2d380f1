"""dvc.yaml itself: what its lines may hold, what a change runs again, and what a killed DVC leaves behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import grimp
import psutil
import pytest
import yaml

from components.workspace import dvc_yaml
from components.workspace.layout import Layout
from tests import stand_in
from tests.conftest import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
BODIES = {name: stage.get("do", stage) for name, stage in STAGES.items()}
DVC = (sys.executable, "-m", "dvc")


@pytest.mark.parametrize("name", BODIES)
def test_a_command_carries_only_names(name: str) -> None:
    assert re.fullmatch(rf"python -m components\.stages\.{name} \${{study}}( \${{key}})?", BODIES[name]["cmd"])


BEFORE = {"evaluate": ("train",), "publish": ("prepare", "rasterize", "train", "evaluate")}
FREE = {
    "options": "checks what is written; where its defaults matter (train, search) it is a dependency",
    "params": "checks what is written; where its defaults matter (train, search) it is a dependency",
    "plugins": "finds a kind",
    "stages._command": "how a stage is called",
    "stages._epochs": "what is shown meanwhile",
    "stages._layout": "where files lie",
    "stages._progress": "what is shown meanwhile",
    "stages._record": "what a run's folder says of it, and under what name it is resumed",
    "stages._state": "where an interrupted run waits",
    "publish.figures": "a new look of a run's curves must not train it again",
    "publish.style": "the same",
    "evaluation.scored": "how scores are filed: only stages after training do it",
}


@pytest.mark.parametrize("name", BODIES)
def test_a_stage_depends_on_all_the_code_that_it_imports(name: str) -> None:
    """Itself, or through the stages whose outputs it reads; else results would outlive the code that made them."""
    graph = grimp.build_graph("components", cache_dir=None)
    imported = graph.find_upstream_modules(f"components.stages.{name}") - _folders()
    files = {file for stage in (name, *BEFORE.get(name, ())) for file in BODIES[stage]["deps"]}
    code = [file.removesuffix(".py").replace("/", ".") for file in files]
    covered = {module for module in imported if any(f"{module}.".startswith(f"{part}.") for part in code)}
    assert imported - covered <= {f"components.{module}" for module in FREE}


@pytest.mark.parametrize("name", BODIES)
def test_the_code_that_a_stage_depends_on_exists(name: str) -> None:
    missing = [file for file in BODIES[name]["deps"] if not file.startswith("out/") and not (ROOT / file).exists()]
    assert missing == []


def _folders() -> set[str]:
    """Packages, whose own files only tell what the folder holds."""
    return {".".join(file.parent.relative_to(ROOT).parts) for file in ROOT.glob("components/**/__init__.py")}


@pytest.mark.parametrize("file", list(ROOT.glob("params/*/dvc.yaml")), ids=lambda file: file.parent.name)
def test_a_committed_pipeline_is_the_one_that_would_be_written(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    layout = Layout(file.parent.name)
    assert file.read_text() == dvc_yaml.pipeline(layout, dvc_yaml.load(layout))


def test_maps_of_another_experiments_generator_wait_for_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    layout = Layout("table-6")
    written = yaml.safe_load(dvc_yaml.pipeline(layout, dvc_yaml.load(layout)))
    sources = {name: added["source"] for name, added in written["vars"][1]["experiments"].items()}
    assert written["stages"]["train"]["do"]["deps"][-1] == "${item.source}"
    assert {name for name, source in sources.items() if source == "out/table-6/runs/generated-csrnet"} == {
        "mcnn-for-csrnet",
        "fcn-for-csrnet",
        "sfcn-for-csrnet",
    }
    assert all((ROOT / source).is_file() for source in sources.values() if not source.startswith("out/"))


@pytest.mark.parametrize("file", list(ROOT.glob("params/table-*/study.yaml")), ids=lambda file: file.parent.name)
def test_no_experiment_of_a_table_is_an_alias_of_another(file: Path) -> None:
    """`dvc exp run -S` writes a mapping that several experiments share once for each of them, and the last one wins:
    what was set is lost without a word, or set in all of them."""
    assert not any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(file.read_text()))


def test_a_study_must_bear_the_name_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params/other").mkdir(parents=True)
    Path("params/other/study.yaml").write_text((ROOT / "params/demo/study.yaml").read_text())
    with pytest.raises(ValueError, match=r"params/other/study\.yaml: study: must be 'other'.*not 'demo'"):
        dvc_yaml.write(Layout("other"))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which every stage of the demo has run once."""
    folder = stand_in.repository(tmp_path_factory.mktemp("done"))
    result = stand_in.command(folder, *DVC, "repro")
    assert result.returncode == 0, result.stdout
    return folder


@pytest.mark.slow
def test_a_change_runs_again_what_depends_on_it_and_nothing_else(done: Path) -> None:
    assert len(stand_in.ran(done)) == 1 + 2 + 4 + 4 + 2 + 1

    assert "up to date" in stand_in.command(done, *DVC, "repro").stdout
    assert stand_in.ran(done) == []

    cache = done / "components" / "counters" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "other.pyc").write_bytes(b"made by another Python")
    stand_in.command(done, *DVC, "repro")
    assert stand_in.ran(done) == []

    stand_in.edit(done, "demo", "alpha: 1,", "alpha: 2,")
    stand_in.command(done, *DVC, "repro")
    assert set(stand_in.ran(done)) == {"train refined", "evaluate refined", "search refined", "publish"}


@pytest.mark.slow
def test_an_experiment_of_dvc_sets_a_parameter(done: Path) -> None:
    setting = "params/demo/study.yaml:experiments.refined.density_map.alpha=5"
    result = stand_in.command(done, *DVC, "exp", "run", "-S", setting)
    assert result.returncode == 0, result.stdout
    assert {"train refined", "evaluate refined"} <= set(stand_in.ran(done))
    assert "'alpha': 5" in (done / "out/demo/runs/refined").read_text()


@pytest.mark.slow
def test_a_killed_dvc_leaves_no_stage_running(tmp_path: Path) -> None:
    folder = stand_in.repository(tmp_path)
    (folder / "components/stages/prepare.py").write_text(
        "import os, pathlib, time\n"
        "from components.workspace.processes import run\n"
        "def sleep(study, layout, name):\n"
        "    pathlib.Path('pid.tmp').write_text(str(os.getpid()))\n"
        "    pathlib.Path('pid.tmp').rename('pid')\n"
        "    time.sleep(600)\n"
        "run(sleep, 'study', 'dataset')\n"
    )
    dvc = subprocess.Popen([*DVC, "repro"], cwd=folder, env=stand_in.ENVIRONMENT)
    stage = psutil.Process(stand_in.pid(folder / "pid"))
    dvc.send_signal(signal.SIGKILL)
    dvc.wait()
    stage.wait(timeout=60)
    assert not stage.is_running()


@pytest.mark.slow
def test_studies_share_no_state(tmp_path: Path) -> None:
    folder = stand_in.repository(tmp_path)
    study = folder / "params" / "other" / "study.yaml"
    study.parent.mkdir()
    text = (folder / "params/demo/study.yaml").read_text().replace("study: demo", "study: other")
    start, rest = text.split("\nsearches:")
    study.write_text(f"{start}\npublish:{rest.split('publish:')[1]}")

    first = stand_in.command(folder, "dotfield", "run", "other")
    assert first.returncode == 0, first.stdout
    assert len(stand_in.ran(folder)) == 1 + 2 + 4 + 4 + 1
    assert (folder / "params/other/dvc.lock").exists()
    assert not (folder / "dvc.lock").exists()
    assert not (folder / "out/demo").exists()

    second = stand_in.command(folder, "dotfield", "run", "other")
    assert "nothing changed" in second.stdout
    assert stand_in.ran(folder) == []


@pytest.mark.slow
def test_a_generator_is_trained_before_what_takes_its_maps_and_both_again_when_it_changes(tmp_path: Path) -> None:
    folder = stand_in.repository(tmp_path)
    values = yaml.safe_load((folder / "params/demo/study.yaml").read_text())
    generated = values["experiments"]["generated"]
    taking = generated | {"title": "taking", "density_map": {"kind": "frozen", "run": "generated"}}
    experiments = {"a-taking": taking, "fixed": values["experiments"]["fixed"], "generated": generated}
    study = folder / "params" / "other" / "study.yaml"
    study.parent.mkdir()
    study.write_text(yaml.safe_dump(values | {"study": "other", "experiments": experiments, "searches": {}}))

    first = stand_in.command(folder, "dotfield", "run", "other")
    assert first.returncode == 0, first.stdout
    ran = stand_in.ran(folder)
    assert ran.index("train generated") < ran.index("train a-taking")

    setting = "params/other/study.yaml:experiments.generated.density_map.beta=5"
    changed = stand_in.command(folder, *DVC, "exp", "run", "-S", setting, "params/other/dvc.yaml")
    assert changed.returncode == 0, changed.stdout
    again = set(stand_in.ran(folder))
    assert {"train generated", "train a-taking"} <= again
    assert "train fixed" not in again
