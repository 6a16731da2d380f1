"""Nights of retraining with everything real: Prefect, DVC, Ray, the registry and the gate, on tiny pictures."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.workspace.layout import RETRAIN, Layout
from tests import stand_in
from tests.conftest import ROOT
from tests.flows.processes import GATE, Running, free_port, post, prefect_environment, server, until
from tests.flows.sink import Sink
from tests.inbox.conftest import SETTINGS, STUDY, label, picture
from tests.test_secrets import CANARIES, files_with_secrets

pytestmark = pytest.mark.slow

FLOW = (sys.executable, "-m", "tests.flows.retried")
GIT = ("git", "-c", "user.name=test", "-c", "user.email=test@example.org")
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}  # the rest stands in .dvc/config
COMMITTED = ("dvc.lock", "dvc.yaml", "report.dvc")


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


def arrive(folder: Path, seeds: range) -> None:
    folder.mkdir(exist_ok=True)
    for seed in seeds:
        (folder / f"cam{seed % 2}-{seed}.png").write_bytes(picture(seed))
        (folder / f"cam{seed % 2}-{seed}.json").write_bytes(label(2 + seed % 3, seed))


def project(folder: Path) -> Path:
    """A clone with a study of pictures, ten of them in its inbox and ten held out."""
    shutil.copytree(ROOT / "components", folder / "components", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".dvcignore", ".gitignore", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    arrive(folder / "inbox", range(10))
    arrive(folder / "held-out", range(100, 110))
    (folder / "data/yard").mkdir(parents=True)
    files = {
        Layout("yard").params: STUDY | {"training": {"epochs": 1, "batch_size": 2}},
        RETRAIN: SETTINGS | {"settle": 0, "branch": "nightly", "push": True, "gate": "params/gate.yaml"},
        Path("params/gate.yaml"): GATE,
    }
    for path, values in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(yaml.safe_dump(values, sort_keys=False))
    for words in (
        ["git", "init", "-q", "-b", "main"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        ["git", "add", "components", "params", ".dvc", ".dvcignore", ".gitignore"],
        [*GIT, "commit", "-qm", "start"],
    ):
        run(folder, *words)
    return folder


def run(folder: Path, *words: str, env: dict[str, str] = stand_in.ENVIRONMENT) -> str:
    """What a command says, which has to succeed."""
    done = stand_in.command(folder, *words, env=env)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_first_night_deploys_and_pushes_and_the_second_has_nothing_to_do(
    tmp_path: Path, sink: Sink, s3: Any, monkeypatch: pytest.MonkeyPatch, typed: Any
) -> None:
    """Although every step that is retried fails once after it did its work, and another night starts meanwhile."""
    folder = project(tmp_path / "project")
    monkeypatch.chdir(folder)
    assert typed("remote", "s3://crowds/nights", "--endpoint", os.environ["AWS_ENDPOINT_URL"])[0] == 0
    run(folder, *GIT, "commit", "-qam", "a remote")
    environment = prefect_environment(tmp_path / "prefect") | AWS | {"DOTFIELD_NOTIFY": sink.address}
    head = run(folder, "git", "rev-parse", "HEAD")
    with Running([*FLOW], folder, environment) as first:
        until((folder / "data/yard/accepted.jsonl").exists, 300)
        late = stand_in.command(folder, sys.executable, "-m", "flows.retrain", env=environment)
        assert late.returncode == 2
        assert re.search(r"^params/retrain.yaml: another process works on this .*; end it, or wait$", late.stdout, re.M)
        assert first.wait(600) == 0, (folder / "log").read_text()
    said = (folder / "log").read_text()
    for step in ("ingest", "version", "keep_results", "deploy", "publish", "notify"):
        assert f"{step} did its work, and fails" in said
    entries = [json.loads(path.read_text()) for path in sorted((folder / "registry/ledger").glob("*.json"))]
    assert [entry["action"] for entry in entries] == ["deploy"]
    decision = entries[0]["decision"]
    assert decision["outcome"] == "GO"
    assert (decision["data"]["images"], decision["data"]["new"]) == (10, 10)
    said = yaml.safe_load((folder / "data/yard.dvc").read_text())["outs"][0]["md5"]
    assert decision["data"]["version"] == said
    assert run(folder, "git", "rev-parse", "nightly~1").strip() == decision["commit"]
    assert run(folder, "git", "rev-parse", "HEAD") == head
    files = run(folder, "git", "diff", "--name-only", "main", "nightly").split()
    assert files == ["data/.gitignore", "data/yard.dvc", *(f"params/yard/{name}" for name in COMMITTED)]
    assert [message["title"] for message in sink.got] == ["yard: retraining failed", "yard: GO"]

    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", "-b", "nightly", "project", "clone")
    run(clone, sys.executable, "-m", "dvc", "pull", "--allow-missing", env=stand_in.ENVIRONMENT | AWS)
    assert run(clone, "git", "status", "--porcelain") == ""
    for pulled in (Path("data/yard"), Layout("yard").run("fixed", 0).folder, Layout("yard").preview.published):
        assert contents(clone / pulled) == contents(folder / pulled) != {}
    assert said[:12] in (clone / Layout("yard").preview.history).read_text()

    assert "nothing new" in (second := run(folder, *FLOW, env=environment))
    assert "record_nothing_new did its work, and fails" in second
    assert "Task run 'check" not in second, "nothing after ingest"
    assert said[:12] in (page := (folder / Layout("yard").preview.history).read_text())
    assert "Decisions: 1, of which 1 put a counter in use. Nights with nothing new: 1." in page
    assert len(sink.got) == 2


def test_a_night_outlives_a_minute_without_prefects_server_and_keeps_secrets(tmp_path: Path, sink: Sink) -> None:
    """The server is killed while a stage runs, and another one on its database is there a minute later. No secret of
    the environment is in what the night and the server leave behind."""
    folder = project(tmp_path / "project")
    settings = yaml.safe_load((folder / RETRAIN).read_text())
    (folder / RETRAIN).write_text(yaml.safe_dump(settings | {"push": False}))
    address = {"PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"}
    told = {"DOTFIELD_NOTIFY": sink.address.replace("://", "://user:canary-of-notify-6a7b@")}
    environment = prefect_environment(tmp_path / "prefect") | CANARIES | told | address
    command = (sys.executable, "-m", "flows.retrain")
    with server(environment) as first, Running([*command], folder, environment) as night:
        until((folder / Layout("yard").settings("experiments", "fixed")).exists, 300)
        first.kill()
        time.sleep(60)
        with server(environment):
            assert night.wait(600) == 0, (folder / "log").read_text()
            [done] = post(environment, "flow_runs/filter", sort="START_TIME_DESC", limit=1)
            assert done["state"]["message"].startswith("GO: ")
            [entry] = [json.loads(path.read_text()) for path in (folder / "registry/ledger").glob("*.json")]
            assert (entry["action"], entry["decision"]["data"]["images"]) == ("deploy", 10)
            assert "nothing new" in run(folder, *command, env=environment)
    assert [message["title"] for message in sink.got] == ["yard: GO"]
    assert (tmp_path / "prefect/prefect.db").stat().st_size > 100_000
    assert files_with_secrets(folder, tmp_path / "prefect") == []


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
