"""What a change runs again, and nothing else: a real Git and DVC repository, whose stages only copy their settings."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import yaml

from components.config.plugins import FAMILIES
from components.workspace import dag
from flows import dvc
from tests import stand_in
from tests.conftest import ROOT

DVC = (sys.executable, "-m", "dvc")
EXPERIMENTS = ("fixed", "random", "refined", "generated", "mixture")
TRAINED = {f"train@{name}" for name in EXPERIMENTS}
EVALUATED = {f"evaluate@{name}" for name in EXPERIMENTS}
SEARCHED = {"search@generated", "search@refined"}
MAPS = {"rasterize@crowd-fixed", "rasterize@crowd-adaptive"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which every stage of the demo has run once."""
    folder = stand_in.repository(tmp_path_factory.mktemp("project"))
    result = stand_in.command(folder, *DVC, "repro")
    assert result.returncode == 0, result.stdout
    assert len(stand_in.ran(folder)) == 1 + 2 + 5 + 5 + 2 + 1
    return folder


def stale(folder: Path) -> set[str]:
    """The stages of which DVC says that something they depend on changed, themselves and not by way of others."""
    done = stand_in.command(folder, *DVC, "status", "--json")
    return set(yaml.safe_load(done.stdout))


class Changed:
    """A file that ends with another line during the block."""

    def __init__(self, file: Path, line: str = "# a comment\n") -> None:
        self.file, self.line = file, line

    def __enter__(self) -> None:
        self.before = self.file.read_text() if self.file.exists() else None
        self.file.write_text((self.before or "") + self.line)

    def __exit__(self, *_: object) -> None:
        if self.before is None:
            self.file.unlink()
        else:
            self.file.write_text(self.before)


def test_comments_in_code_that_no_run_reads_make_nothing_stale(project: Path) -> None:
    """Kinds that the study does not name, and code that changes no number."""
    unused = (
        "datasets/points",
        "datasets/coco",
        "density_maps/drawn/perspective",
        "density_maps/learned/frozen",
        "density_maps/learned/kernel",
        "counters/mcnn",
        "losses/dm_count",
        "cli",
        "workspace/layout",
        "workspace/processes",
        "runs/provenance",
        "training/loggers/tensorboard",
        "training/progress",
        "workspace/dag",
    )
    with ExitStack() as changes:
        for name in unused:
            changes.enter_context(Changed(project / f"components/{name}.py"))
        assert stale(project) == set()


def test_new_kinds_of_every_family_make_nothing_stale(project: Path) -> None:
    with ExitStack() as changes:
        for folder in FAMILIES.values():
            file = project / "components" / folder.replace(".", "/") / "brand_new.py"
            changes.enter_context(Changed(file))
        assert stale(project) == set()


def test_a_new_metric_is_published_and_nothing_else(project: Path) -> None:
    with Changed(project / "components/evaluation/metrics/brand_new.py"):
        assert stale(project) == {"publish"}


@pytest.mark.parametrize(
    ("file", "dependants"),
    [
        ("datasets/synthetic", {"prepare@crowd"}),
        ("datasets/shared/people", {"prepare@crowd"}),
        ("data/decode", {"prepare@crowd"} | EVALUATED),
        ("data/split", {"prepare@crowd"}),
        (
            "density_maps/drawn/fixed",
            {"rasterize@crowd-fixed", "search@generated"} | (TRAINED - {"train@refined"}),
        ),
        ("density_maps/drawn/adaptive", {"rasterize@crowd-adaptive", "train@refined", "search@refined"}),
        ("density_maps/gaussian", MAPS | TRAINED | SEARCHED),
        ("density_maps/learned/generated", {"train@generated", "search@generated"}),
        ("density_maps/learned/refined", {"train@refined", "search@refined"}),
        ("density_maps/learned/identity", {"train@fixed", "train@random"}),
        ("counters/efficientnet_lite", TRAINED | SEARCHED | EVALUATED),
        ("losses/squared_error", TRAINED | SEARCHED | EVALUATED),
        ("training/fit", TRAINED | SEARCHED),
        ("training/ray_tune", SEARCHED),
        ("evaluation/metrics/mae", TRAINED | SEARCHED | {"publish"}),
        ("evaluation/statistics", {"publish"}),
        ("evaluation/score", TRAINED | SEARCHED | EVALUATED | {"publish"}),
        ("runs/predictor", EVALUATED),
        ("publish/charts", {"publish"}),
    ],
)
def test_a_change_of_code_makes_exactly_its_dependants_stale(project: Path, file: str, dependants: set[str]) -> None:
    with Changed(project / f"components/{file}.py"):
        assert stale(project) == dependants


def test_a_title_or_a_caption_trains_nothing_again(project: Path) -> None:
    study = project / "params/demo/study.yaml"
    before = study.read_text()
    study.write_text(
        before.replace("title: fixed, sigma 4 px", "title: other words").replace(
            "published: fixed_4", "published: fixed_16"
        )
    )
    assert "other words" in study.read_text()
    try:
        stand_in.command(project, *DVC, "repro")
        assert stand_in.ran(project) == ["publish"]
    finally:
        study.write_text(before)
        stand_in.command(project, *DVC, "repro")
        stand_in.ran(project)


def test_a_changed_option_runs_its_own_experiment_again(project: Path) -> None:
    assert "up to date" in stand_in.command(project, *DVC, "repro").stdout

    cache = project / "components" / "counters" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "other.pyc").write_bytes(b"made by another Python")
    stand_in.command(project, *DVC, "repro")
    assert stand_in.ran(project) == []

    stand_in.edit(project, "demo", "alpha: 1,", "alpha: 2,")
    stand_in.command(project, *DVC, "repro")
    assert set(stand_in.ran(project)) == {"train refined", "evaluate refined", "search refined", "publish"}
    stand_in.edit(project, "demo", "alpha: 2,", "alpha: 1,")
    stand_in.command(project, *DVC, "repro")
    stand_in.ran(project)


def test_averaging_predictions_tests_again_and_trains_nothing(project: Path) -> None:
    stand_in.command(project, *DVC, "repro")
    stand_in.ran(project)
    plain, averaged = "published: fixed_4", "published: fixed_4\n    averaging: {flip: true}"
    stand_in.edit(project, "demo", plain, averaged)
    stand_in.command(project, *DVC, "repro")
    assert set(stand_in.ran(project)) == {"evaluate fixed", "publish"}
    stand_in.edit(project, "demo", averaged, plain)
    stand_in.command(project, *DVC, "repro")
    stand_in.ran(project)


def test_an_experiment_of_dvc_sets_a_parameter(tmp_path: Path) -> None:
    folder = stand_in.repository(tmp_path)
    assert stand_in.command(folder, *DVC, "repro").returncode == 0
    stand_in.ran(folder)
    setting = "params/demo/study.yaml:experiments.refined.density_map.alpha=5"
    result = stand_in.command(folder, *DVC, "exp", "run", "-S", setting)
    assert result.returncode == 0, result.stdout
    again = stand_in.ran(folder)
    assert {"train refined", "evaluate refined"} <= set(again)
    assert "train fixed" not in again
    assert "alpha: 5" in (folder / "out/demo/runs/refined").read_text()


def test_a_file_of_dots_outside_the_root_is_a_dependency(tmp_path: Path) -> None:
    """../shared/cases/30: new dots beside the folder of images, and "nothing changed"."""
    folder = stand_in.repository(tmp_path)
    shutil.copytree(ROOT / "tests/raw/points", folder / "data/own")
    dots = (folder / "data/own/dots.csv").rename(folder / "data/dots.csv")
    values = yaml.safe_load((folder / "params/demo/study.yaml").read_text())
    values["datasets"]["crowd"]["source"] = {"kind": "points", "root": "data/own", "annotations": "data/dots.csv"}
    study = folder / "params/own/study.yaml"
    study.parent.mkdir()
    study.write_text(yaml.safe_dump(values | {"study": "own", "searches": {}}))
    first = stand_in.command(folder, "dotfield", "run", "own")
    assert first.returncode == 0, first.stdout
    stand_in.ran(folder)

    dots.write_text(dots.read_text() + "shot_1.jpg,1,1\n")
    assert stand_in.command(folder, "dotfield", "run", "own").returncode == 0
    assert stand_in.ran(folder) == ["prepare crowd"]  # whose output is the same here
    assert "nothing changed" in stand_in.command(folder, "dotfield", "run", "own").stdout


def test_a_killed_dvc_leaves_no_stage_running(tmp_path: Path) -> None:
    folder = stand_in.repository(tmp_path)
    (folder / "components/stages/prepare.py").write_text(
        "import os, pathlib, time\n"
        "from components.workspace.processes import run_stage\n"
        "def prepare(layout, name):\n"
        "    pathlib.Path('pid.tmp').write_text(str(os.getpid()))\n"
        "    pathlib.Path('pid.tmp').rename('pid')\n"
        "    time.sleep(600)\n"
        "run_stage(prepare, 'dataset')\n"
    )
    dvc = subprocess.Popen([*DVC, "repro"], cwd=folder, env=stand_in.ENVIRONMENT)
    stage = psutil.Process(stand_in.pid(folder / "pid"))
    dvc.send_signal(signal.SIGKILL)
    dvc.wait()
    stage.wait(timeout=60)
    assert not stage.is_running()


def test_studies_share_no_state(tmp_path: Path) -> None:
    folder = stand_in.repository(tmp_path)
    study = folder / "params" / "other" / "study.yaml"
    study.parent.mkdir()
    values = yaml.safe_load((folder / "params/demo/study.yaml").read_text())
    study.write_text(yaml.safe_dump(values | {"study": "other", "searches": {}}))

    first = stand_in.command(folder, "dotfield", "run", "other")
    assert first.returncode == 0, first.stdout
    assert len(stand_in.ran(folder)) == 1 + 2 + 5 + 5 + 1
    assert (folder / "params/other/dvc.lock").exists()
    assert not (folder / "dvc.lock").exists()
    assert not (folder / "out/demo").exists()

    second = stand_in.command(folder, "dotfield", "run", "other")
    assert "nothing changed" in second.stdout
    assert stand_in.ran(folder) == []


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


def test_the_tree_of_stages_is_that_of_dvc(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    ours = dag.stages((project / "dvc.yaml").read_text())
    theirs = dvc.stages(Path("dvc.yaml"))
    assert {name: set(stage.after) for name, stage in ours.items()} == {each.name: {*each.after} for each in theirs}
    with Changed(project / "components/training/ray_tune.py"):
        shown = stand_in.command(project, "dotfield", "dag", "--json", stderr=subprocess.PIPE)
    states = {each["stage"]: (each["state"], each["why"]) for each in json.loads(shown.stdout)["stages"]}
    changed = ("stale", "modified: components/training/ray_tune.py")
    waiting = {"publish": ("waits", "for search generated")}
    assert {name: state for name, state in states.items() if state[0] != "fresh"} == dict.fromkeys(
        SEARCHED, changed
    ) | waiting


def test_dvc_shows_the_settings_of_the_study_without_its_words(project: Path) -> None:
    shown = stand_in.command(project, *DVC, "params", "diff", "--all", "--json", stderr=subprocess.PIPE)
    keys = set(json.loads(shown.stdout or "{}").get("out/demo/settings/params.yaml", {}))
    assert "experiments.refined.density_map.alpha" in keys
    assert not {key for key in keys if key.endswith((".title", ".published"))}
