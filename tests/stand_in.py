"""A small real Git and DVC repository for tests of the pipeline itself: the project's own `dvc.yaml`, study and code,
but every stage only writes what it was asked for. No work of a stage is tested here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

from tests.conftest import ROOT

STAGES = ("prepare", "rasterize", "train", "evaluate", "search", "publish")  # `resolve` is the real one
STAGE = '''"""Writes the settings that it reads to its output, and its name to ran.txt."""
import sys
from pathlib import Path

from components.workspace.layout import Layout

stage, study, names = Path(__file__).stem, sys.argv[1], sys.argv[2:]
layout = Layout(study)
families = {"prepare": "datasets", "rasterize": "maps", "train": "experiments", "search": "searches"}
outputs = {
    "prepare": lambda name: layout.prepared(name).folder, "rasterize": layout.maps, "train": layout.runs,
    "evaluate": layout.scores, "search": lambda name: layout.search(name).folder, "publish": lambda: layout.summary,
}
output = outputs[stage](*names)
output.parent.mkdir(parents=True, exist_ok=True)
if stage == "publish":
    output.write_text(f"the table\\nreport: {layout.report}\\n")
elif stage == "evaluate":
    output.write_text(layout.runs(*names).read_text())
else:
    output.write_text(layout.settings(families[stage], *names).read_text())
with Path("ran.txt").open("a") as ran:
    print(stage, *names, file=ran)
'''
OUTER = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # a make that runs the tests
ENVIRONMENT = OUTER | {"PYTHONPATH": ".", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def repository(folder: Path, stages: dict | None = None) -> Path:
    """A repository with the study `demo`; `stages` replaces the project's pipeline."""
    shutil.copytree(ROOT / "components", folder / "components", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "params" / "demo", folder / "params" / "demo")
    for name in STAGES:
        (folder / "components" / "stages" / f"{name}.py").write_text(STAGE)
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    if stages is not None:
        write_stages(folder, stages)
        with (folder / "components/workspace/dvc_yaml.py").open("a") as code:
            code.write("\n\ndef pipeline(layout, study):\n    return Path('stages.yaml').read_text()\n")
    (folder / ".gitignore").open("a").write("ran.txt\n")
    _commit(folder)
    return folder


def write_stages(folder: Path, stages: dict) -> None:
    """Give a repository that was made with stages of its own these ones."""
    for name in ("dvc.yaml", "stages.yaml"):
        (folder / name).write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))


def command(folder: Path, *words: str, **options) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository, with what it says on both streams as one text."""
    options = {"env": ENVIRONMENT, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | options
    return subprocess.run(words, cwd=folder, check=False, **options)


def ran(folder: Path) -> list[str]:
    """The stages that ran since the last call."""
    log = folder / "ran.txt"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def edit(folder: Path, study: str, old: str, new: str) -> None:
    file = folder / "params" / study / "study.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def _commit(folder: Path) -> None:
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for words in (
        ["git", "init", "-q"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        ["git", "add", "."],
        [*git, "commit", "-qm", "start"],
    ):
        done = command(folder, *words)
        assert done.returncode == 0, done.stdout


def pid(file: Path) -> int:
    """The process id that a running stage writes to `file`, once it is there."""
    for _ in range(3000):  # a busy machine alone must not fail a test
        if file.exists():
            return int(file.read_text())
        time.sleep(0.1)
    raise AssertionError(f"no {file.name} after five minutes")
