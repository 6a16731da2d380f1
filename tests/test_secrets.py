"""Secrets in the environment are in nothing that a study leaves behind: results, states, caches, logs, reports, Git."""

from __future__ import annotations

import base64
import os
import shutil
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import stand_in
from tests.conftest import ROOT
from tests.projects import TINY

pytestmark = pytest.mark.slow

PASSWORD = "canary-of-prefect-5b1d7e"
CANARIES = {
    "AWS_SECRET_ACCESS_KEY": "canary-of-aws-0c9d1e2f",
    "AWS_SESSION_TOKEN": "canary-of-session-77aa31",
    "RAY_AUTH_TOKEN": "canary-of-ray-4f0e12ab",
    "MLFLOW_TRACKING_PASSWORD": "canary-of-mlflow-91c2",
    "WANDB_API_KEY": "canary-of-wandb-3d5e77",
    "DOTFIELD_NOTIFY": "jsons://user:canary-of-notify-6a7b@127.0.0.1:9/x",
    "PREFECT_API_AUTH_STRING": f"admin:{PASSWORD}",
    "PREFECT_SERVER_API_AUTH_STRING": f"admin:{PASSWORD}",
}
WORDS = [b"canary-of-", base64.b64encode(f"admin:{PASSWORD}".encode())]


def project(folder: Path) -> Path:
    shutil.copytree(ROOT / "components", folder / "components", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".dvcignore", ".gitignore", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "params/tiny").mkdir(parents=True)
    (folder / "params/tiny/study.yaml").write_text(yaml.safe_dump(TINY, sort_keys=False))
    commit = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-qm", "start"]
    dvc = [sys.executable, "-m", "dvc", "init", "-q"]
    for words in (["git", "init", "-q"], dvc, ["git", "add", "."], commit):
        done = stand_in.command(folder, *words)
        assert done.returncode == 0, done.stdout
    return folder


def files_with_secrets(*folders: Path) -> list[Path]:
    """Files whose bytes, or what Git compressed in them, hold one of the words."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if any(word in content for word in WORDS for content in _contents(path))]


def _contents(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    yield content
    if "objects" in path.parts:
        try:
            yield zlib.decompress(content)
        except zlib.error:
            return


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(f"secret={CANARIES['AWS_SECRET_ACCESS_KEY']}")
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects/b").write_bytes(zlib.compress(WORDS[1]))
    (tmp_path / "c").write_bytes(b"nothing")
    assert [path.name for path in files_with_secrets(tmp_path)] == ["a.log", "b"]


def test_no_secret_of_the_environment_is_left_behind(tmp_path: Path, short_folder: Path) -> None:
    folder = project(tmp_path / "project")
    ours = {"PYTHONPATH": f".{os.pathsep}{ROOT}", "RAY_TMPDIR": str(short_folder), "AWS_ACCESS_KEY_ID": "test"}
    environment = stand_in.ENVIRONMENT | CANARIES | ours
    run = stand_in.command(folder, "dotfield", "run", "tiny", env=environment)
    assert run.returncode == 0, run.stdout
    words = (sys.executable, "-m", "components.stages.train", "tiny", "absent")
    failed = stand_in.command(folder, *words, env=environment | {"DOTFIELD_TRACEBACK": "1"})
    assert failed.returncode != 0
    assert not [word for word in WORDS if word in (run.stdout + failed.stdout).encode()]
    written = {path.name for path in folder.rglob("*")}
    assert {"report.html", "best.safetensors", "dvc.lock", "metrics.csv"} <= written, sorted(written)
    assert any(short_folder.iterdir())
    assert files_with_secrets(folder, short_folder) == []
