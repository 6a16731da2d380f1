"""`dotfield remote`: it is tried before it is written down, no secret is written, and every refusal is one line."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from components.errors import UserError
from components.stages.publish import publish
from components.workspace import dvc_yaml
from components.workspace.layout import DVC_CONFIG, Layout
from components.workspace.remote import check_words, try_out
from tests import projects, stand_in
from tests.conftest import ROOT
from tests.flows.processes import free_port


@pytest.fixture
def refusing(s3: Any) -> Iterator[None]:
    """The server refuses every request, as the credentials are of nobody that it knows."""
    reset = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    httpx.post(reset, content="0").raise_for_status()
    yield
    httpx.post(reset, content="inf").raise_for_status()


def test_a_bucket_and_a_folder_are_tried_and_left_as_they_were(s3: Any, tmp_path: Path) -> None:
    try_out("s3://crowds/untouched")
    try_out(str(tmp_path / "results"), None)
    assert "Contents" not in s3.list_objects_v2(Bucket="crowds", Prefix="untouched")
    assert list((tmp_path / "results").iterdir()) == []


def test_a_bucket_that_is_not_there_is_named(s3: Any) -> None:
    with pytest.raises(UserError, match=r"^s3://nowhere/results: there is no such bucket") as refused:
        try_out("s3://nowhere/results")
    assert "\n" not in str(refused.value)


def test_a_server_that_does_not_answer_is_named() -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match=f"^s3://crowds/results at {endpoint}: nothing answers there"):
        try_out("s3://crowds/results", endpoint)


def test_credentials_that_are_refused_are_said_with_the_right_that_they_need(refusing: None) -> None:
    with pytest.raises(UserError, match=r"^s3://crowds/results: refused, nothing can be written there") as refused:
        try_out("s3://crowds/results")
    assert str(refused.value).endswith("; the credentials need s3:PutObject")


@pytest.mark.parametrize(
    ("address", "endpoint", "said"),
    [
        ("s3://key:hidden@crowds/results", None, "ADDRESS: must have no user, password and query"),
        ("s3://key:hid/hidden@crowds/results", None, "ADDRESS: must have no user, password and query"),
        ("ftp://key:hidden@host/results", None, "ADDRESS: must have no user, password and query"),
        ("s3://crowds/results?token=hidden", None, "ADDRESS: must have no user, password and query"),
        ("s3://crowds/results", "https://key:hidden@host:9000", "--endpoint: must have no user, password and query"),
        ("ftp://host/results", None, "ftp://host/results: must be a folder, or s3://BUCKET/PATH"),
        ("", None, "ADDRESS: is empty"),
        ("s3://", None, "s3://: must be a folder, or s3://BUCKET/PATH"),
        ("s3://crowds", "host:9000", "--endpoint host:9000: must be a URL"),
        (
            "results",
            "https://host:9000",
            "--endpoint https://host:9000: must be a URL such as https://HOST:PORT, of an s3",
        ),
    ],
)
def test_what_cannot_be_a_remote_is_refused_and_no_secret_shown(address: str, endpoint: str | None, said: str) -> None:
    with pytest.raises(UserError) as refused:
        check_words(address, endpoint)
    assert str(refused.value).startswith(said)
    assert "hidden" not in str(refused.value)


@pytest.mark.slow
def test_a_clone_pulls_data_maps_runs_and_report_and_counts_without_training(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed
) -> None:
    made, clone = tmp_path / "made", tmp_path / "clone"
    _write_results(made, monkeypatch)
    code, out, _ = typed("remote", "s3://crowds/results", "--endpoint", os.environ["AWS_ENDPOINT_URL"], "--json")
    assert (code, json.loads(out)["remote"]) == (0, "s3://crowds/results")
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in DVC_CONFIG.read_text()
    _run(made, "git", "add", "--all")
    _run(made, *GIT, "commit", "--quiet", "--message", "results")
    _run(made, *DVC, "push")

    _run(tmp_path, "git", "clone", "--quiet", "made", "clone")
    monkeypatch.delenv("AWS_ENDPOINT_URL")  # it stands in .dvc/config
    _run(clone, *DVC, "pull")
    assert _contents(clone / "out") == _contents(made / "out")
    assert (clone / Layout("tiny").report).exists()

    monkeypatch.chdir(clone)
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save("photo.png")
    code, out, _ = typed("count", "photo.png", "--counter", Layout("tiny").run("fixed", 0).folder)
    assert code == 0
    assert "photo.png" in out
    assert "nothing changed: every stage of tiny is up to date" in typed("run", "tiny")[1]


GIT = ("git", "-c", "user.name=test", "-c", "user.email=test@example.org")
DVC = (sys.executable, "-m", "dvc")


def _write_results(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository in `folder`, which becomes the current one: all results of a study, and a dvc.lock that has them."""
    shutil.copytree(ROOT / "components", folder / "components", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".gitignore", ".dvcignore", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    _run(folder, "git", "init", "--quiet")
    _run(folder, *DVC, "init", "--quiet")
    monkeypatch.chdir(folder)
    _, layout = projects.run_study(projects.TINY)
    publish(layout)
    _run(folder, *DVC, "commit", "--force", "--quiet", str(dvc_yaml.write(layout)))


def _run(folder: Path, *words: str) -> None:
    done = stand_in.command(folder, *words, env=os.environ | {"PYTHONPATH": "."})
    assert done.returncode == 0, done.stdout


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
