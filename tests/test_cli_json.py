"""What programs read: one JSON document on standard output for every command, words on standard error, exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
import yaml
from PIL import Image

from components import cli
from components.workspace.layout import Layout
from tests.conftest import ROOT

STUDY = """study: small
title: Small
datasets: {crowd: {source: {kind: synthetic, images: 12}}}
maps: {near: {dataset: crowd, kernel: {kind: fixed, sigma: 4}}}
dataset: crowd
counter: {kind: mcnn}
experiments:
  fixed: {annotation: near}
  refined: {annotation: near, density_map: {kind: refined}}
searches: {best: {experiment: refined, space: {density_map.alpha: {uniform: [0, 1]}}}}
publish: {baseline: fixed}
"""
TYPED = {  # a line for each command, and a key that its document has
    "studies": ("studies", "studies"),
    "check": ("check small", "mistakes"),
    "publish": ("publish small", "results"),
    "apply": ("apply small best", "values"),
    "dag": ("dag small", "stages"),
    "kinds": ("kinds counter mcnn", "kinds"),
    "new": ("new yard pictures", "source"),
    "count": ("count pictures/shot_1.jpg", "counts"),
    "deployed": ("deployed", "current"),
    "history": ("history", "entries"),
    "data check": ("data check pictures", "data_sets"),
    "data show": ("data show pictures --images 2", "sheets"),
}
TYPED_ELSEWHERE = {  # they need runs, or a machine
    "run": "tests/test_cli.py",
    "compare": "tests/publish/test_comparison.py",
    "doctor": "tests/test_doctor.py",
    "export": "tests/export/test_command.py",
    "inbox": "tests/inbox/test_command.py",
    "remote": "tests/workspace/test_remote.py",
    **dict.fromkeys(("deploy", "rollback", "gate"), "tests/gate/test_deploying.py"),
}
NO_JSON = {"completion"}  # it prints a shell's script


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A study that was searched and never run, beside a folder of pictures with dots."""
    monkeypatch.chdir(tmp_path)
    layout = Layout("small")
    layout.params.parent.mkdir(parents=True)
    layout.params.write_text(STUDY)
    layout.search("best").folder.mkdir(parents=True)
    best = {"experiment": "refined", "trial": 3, "val_mae": 1.0, "values": {"density_map.alpha": 0.125}}
    layout.search("best").best.write_text(yaml.safe_dump(best))
    shutil.copytree(ROOT / "tests/raw/points", "pictures")
    for number in range(3, 9):
        noise = np.random.default_rng(number).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(f"pictures/shot_{number}.jpg")
        with Path("pictures/dots.csv").open("a") as table:
            table.write("".join(f"shot_{number}.jpg,{5 * dot},{4 * dot}\n" for dot in range(1, number)))
    return layout


def test_every_command_prints_json_or_says_why_not() -> None:
    every = dict(commands(cli.dotfield))
    lacking = {name for name, each in every.items() if not any("--json" in option.opts for option in each.params)}
    assert lacking == NO_JSON
    assert every.keys() - NO_JSON == TYPED.keys() | TYPED_ELSEWHERE.keys()
    assert [file for file in TYPED_ELSEWHERE.values() if "--json" not in (ROOT / file).read_text()] == []


@pytest.mark.parametrize("command", TYPED)
def test_a_command_prints_one_document(command: str, project: Layout, typed) -> None:
    line, key = TYPED[command]
    code, out, _ = typed(*line.split(), "--json")
    document = json.loads(out)
    assert code == 0
    assert (document if "schema" in document else document["provenance"])["schema"] == 1
    assert key in document


def test_the_mistakes_of_a_study_are_a_document_and_a_line_each(project: Layout, typed) -> None:
    project.params.write_text(STUDY.replace("sigma: 4", "sigma: -4").replace("kind: mcnn", "kind: mcmm"))
    code, out, err = typed("check", "small", "--json")
    mistakes = json.loads(out)["mistakes"]
    assert code == 2
    assert len(mistakes) == 2
    assert all(mistake in err for mistake in mistakes)


def test_a_command_that_fails_prints_no_document(project: Layout, typed) -> None:
    code, out, err = typed("dag", "other", "--json")
    assert (code, out) == (2, "")
    assert err == "dotfield: there is no study 'other' in params/; studies: small\n"


def test_what_was_found_is_in_the_documents(project: Layout, typed) -> None:
    [study] = json.loads(typed("studies", "--json")[1])["studies"]
    assert study == {"study": "small", "experiments": 2, "runs": 2, "state": "never run", "title": "Small"}
    assert json.loads(typed("publish", "small", "--json")[1])["results"] == {}
    assert json.loads(typed("apply", "small", "best", "--json")[1])["values"] == {"density_map.alpha": 0.125}
    stages = json.loads(typed("dag", "small", "--json")[1])["stages"]
    assert {each["state"] for each in stages} == {"never run"}
    assert next(each["after"] for each in stages if each["stage"] == "evaluate@fixed")[-1] == "train@fixed"


def test_help_and_readme_say_how_commands_end(typed) -> None:
    said = typed("--help")[1]
    for code in ("0  ", "1  ", "2  ", "3  ", "130"):
        assert f"\n    {code}" in said
    assert "exit code" in (ROOT / "README.md").read_text().lower()


def complete(line: str, cwd: Path) -> tuple[list[str], list[str]]:
    """What Tab offers at the end of a line, and which slow packages were imported for it."""
    words = f"dotfield {line}"
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print(sorted({'torch', 'ray', 'dvc', 'numpy', 'pydantic'} & {*sys.modules})))\n"
        f"sys.path.insert(0, {str(ROOT)!r})\nsys.argv = ['dotfield']\nfrom components import cli\ncli.main()"
    )
    environment = {"_DOTFIELD_COMPLETE": "bash_complete", "COMP_WORDS": words, "PATH": ""}
    environment["COMP_CWORD"] = str(len(f"{words}|".split()) - 1)
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True)
    *offered, imported = done.stdout.splitlines()
    return [each.partition(",")[2] for each in offered], json.loads(imported)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("run s", ["small"]),
        ("compare small/", ["small/fixed", "small/refined"]),
        ("compare s", ["small/"]),
        ("apply small ", ["best"]),
        ("kinds counter m", ["mcnn"]),
        ("kinds d", ["dataset", "drawn_map", "density_map", "dot_png", "dm_count"]),
        ("new yard pictures --kind yo", ["yolo"]),
        ("compl", ["completion"]),
    ],
)
def test_tab_offers_studies_experiments_and_kinds_at_once(line: str, offered: list[str], project: Layout) -> None:
    found, slow = complete(line, Path.cwd())
    assert (found, slow) == (offered, [])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_asks_dotfield(shell: str, typed) -> None:
    code, out, _ = typed("completion", shell)
    assert code == 0
    assert f"_DOTFIELD_COMPLETE={shell}_complete" in out
