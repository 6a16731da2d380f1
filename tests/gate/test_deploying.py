"""Deploying as it is typed: what is printed, what programs read, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from components.runs.registry import Registry
from tests.gate.conftest import photograph
from tests.runs.test_predictor import saved


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's root, whose registry is the folder beside `out/`."""
    monkeypatch.delenv("DOTFIELD_REGISTRY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_is_deployed_counts_and_is_rolled_back(project: Path, typed) -> None:
    assert typed("deployed")[:2] == (
        0,
        "registry: no counter is in use; deploy one with `dotfield deploy RUN --reason TEXT`\n",
    )
    run = saved(project / "out/test/runs/made")
    code, out, error = typed("deploy", "test/made", "--reason", "the first one", "--json")
    entry = json.loads(out)
    assert (code, entry["number"], entry["action"]) == (0, 1, "deploy")
    assert entry["decision"] == {
        "outcome": "DEPLOYED BY HAND",
        "reason": "the first one",
        "run": "test/made",
    }
    assert error == "the gate was not asked: this deployment goes around it, which the ledger says\n"
    counter = entry["current"]["counter"]
    assert "# test / made, seed 3" in Registry("registry").card(counter)
    Image.new("RGB", (64, 48)).save("black.png")
    _, out, _ = typed("count", "black.png", "--deployed", "--json")
    counted = json.loads(out)
    assert counted["provenance"]["weights"]["sha256"] == counter
    _, out, _ = typed("count", "black.png", "--counter", run.folder, "--json")
    assert json.loads(out)["counts"][0]["count"] == pytest.approx(counted["counts"][0]["count"])
    second = saved(project / "second", longest_side=64).best
    assert typed("deploy", second, "--reason", "another")[0] == 0
    assert typed("rollback", "--reason", "it was worse")[:2] == (
        0,
        f"rollback 3: {counter[:12]} is in use (test/made seed 3)\n",
    )
    again = typed("deploy", run.folder, "--reason", "again")[2]
    assert again == f"{counter[:12]} is in use already: nothing was written\n"
    assert typed("history", "--html", "history.html")[0] == 0
    assert "the first one" in Path("history.html").read_text()
    assert "must say why" in typed("deploy", run.folder, "--reason", " ")[2]
    now = json.loads(typed("deployed", "--json")[1])
    assert (now["current"]["counter"], now["previous"]) == (counter, None)
    assert now["current"]["decision"] == {"outcome": "ROLLED BACK", "reason": "it was worse"}
    lines = typed("history")[1].splitlines()
    assert [line.split()[3:6] for line in lines[-3:]] == [
        ["deploy", counter[:12], "DEPLOYED"],
        ["deploy", json.loads(typed("history", "--json")[1])["entries"][1]["current"]["counter"][:12], "DEPLOYED"],
        ["rollback", counter[:12], "ROLLED"],
    ]
    assert lines[-1].endswith("it was worse")


def test_the_gate_says_with_its_exit_code_and_deploys_nothing(project: Path, typed, constant) -> None:
    photograph(project / "held-out", {f"c{number}": (10, 12) for number in range(6)})
    (project / "gate.yaml").write_text(
        "held_out: {source: {kind: points, root: held-out, annotations: held-out/dots.csv}, camera: '^([^/]+)/'}\n"
        "sanity: {resize: 0.5, images: 1}\nleaks: {required: false}\ncosts: {latency: 100, repeats: 1}\n"
    )
    better, worse = constant(13), constant(15)
    code, out, _ = typed("gate", better, "--against", worse, "--policy", "gate.yaml", "--json")
    assert (code, json.loads(out)["outcome"]) == (0, "GO")
    code, out, _ = typed("gate", worse, "--against", better, "--policy", "gate.yaml")
    assert code == 1
    assert out.splitlines()[4].split()[:3] == ["mae:better", "critical", "fail"]
    assert "\nNO-GO: " in out
    (project / "open.yaml").write_text("sanity: {resize: 0.5, images: 1}\n")
    assert typed("gate", better, "--policy", "open.yaml")[0] == 2
    code, out, error = typed("gate", better, "--policy", "none.yaml")
    assert (code, out) == (2, "")
    assert error == "dotfield: none.yaml: no such file\n"
    nothing = {"schema": 1, "registry": "registry", "current": None, "previous": None}
    assert json.loads(typed("deployed", "--json")[1]) == nothing


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rollback", "--reason", "x"], "registry: there is no previous counter to go back to"),
        (["count", "x.png", "--deployed"], "registry: no counter is in use; deploy one with"),
        (
            ["deploy", "nothing", "--reason", "x"],
            "nothing: there is no such file or folder; a run of a",
        ),
        (["deploy", "a/b", "--reason", "x"], "a/b: there is no finished run in out/a/runs/b; train it first"),
        (["deploy", "a/b/../c", "--reason", "x"], "a/b/../c: there is no such file or folder"),
        (["deployed", "--registry", "ftp://x"], "ftp://x: must be a folder, a file:// or an s3:// address"),
    ],
)
def test_a_mistake_is_one_line(typed, words: list[str], message: str) -> None:
    code, out, error = typed(*words)
    assert (code, out) == (2, "")
    assert error.startswith(f"dotfield: {message}")
    assert len(error.splitlines()) == 1


def test_one_of_several_seeds_must_be_named(project: Path, typed) -> None:
    for seed in (0, 7):
        (project / f"out/a/runs/b/seed-{seed}").mkdir(parents=True)
    assert "a/b: was trained with several seeds; name one: a/b/0, a/b/7" in typed("deploy", "a/b", "--reason", "x")[2]
    assert "seed-7/best.safetensors: there is no such file" in typed("deploy", "a/b/7", "--reason", "x")[2]


def test_a_warning_does_not_spoil_what_programs_read(project: Path, typed) -> None:
    Registry("registry").record({"outcome": "NO-GO"})
    (project / "registry/current.json").write_text("{torn")
    code, out, error = typed("deployed", "--json")
    assert (code, json.loads(out)["current"]) == (0, None)
    assert error == "registry/current.json: is damaged; the ledger says what is in use\n"
