"""Commits to a branch of the pipeline's own, in a real repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.errors import UserError
from flows import dvc
from flows.versions import add, commit_files, dvc_file
from tests.faulty_s3 import proxy


def git(*words: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    return subprocess.run(["git", *who, *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a folder of a repository, with a file that was committed and changed since."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    git("init", "-q", "-b", "main", "..")
    Path("kept.txt").write_text("kept")
    Path("dvc.lock").write_text("one")
    git("add", ".")
    git("commit", "-qm", "start")
    Path("kept.txt").write_text("being worked on")
    return tmp_path


def test_only_the_named_files_are_committed_and_the_checkout_stays(repository: Path) -> None:
    before = git("status", "--porcelain"), git("rev-parse", "HEAD")
    Path("new.dvc").write_text("new")
    Path("other.dvc").write_text("named by its whole path")
    commit = commit_files("nightly", [Path("new.dvc"), Path("other.dvc").absolute()], "data: one more image")
    named = git("diff", "--name-status", "main", "nightly").splitlines()
    assert named == ["A\tproject/new.dvc", "A\tproject/other.dvc"]
    Path("other.dvc").unlink()
    assert git("log", "-1", "--format=%an %s", "nightly") == "dotfield data: one more image"
    Path("new.dvc").unlink()
    assert (git("status", "--porcelain"), git("rev-parse", "HEAD")) == before
    assert git("rev-parse", "nightly") == commit


def test_a_second_commit_follows_the_first_and_none_is_made_of_nothing(repository: Path) -> None:
    Path("dvc.lock").write_text("two")
    first = commit_files("nightly", [Path("dvc.lock")], "two")
    assert commit_files("nightly", [Path("dvc.lock")], "again") == first
    Path("dvc.lock").write_text("three")
    second = commit_files("nightly", [Path("dvc.lock")], "three")
    assert git("rev-list", "--reverse", "main..nightly").split() == [first, second]
    assert git("show", "nightly:project/dvc.lock") == "three"


def test_the_branch_that_is_checked_out_is_refused(repository: Path) -> None:
    with pytest.raises(UserError, match="branch: main is checked out here"):
        commit_files("main", [Path("dvc.lock")], "no")


def test_no_repository_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    Path("dvc.lock").write_text("one")
    with pytest.raises(UserError, match="branch: git rev-parse: fatal: not a git repository"):
        commit_files("nightly", [Path("dvc.lock")], "no")


@pytest.mark.slow
def test_a_version_that_s3_refuses_is_one_line_and_is_pushed_the_next_time(repository: Path, s3: Any) -> None:
    def run_dvc(*words: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *words], check=True)

    raw = Path("pictures")
    raw.mkdir()
    (raw / "a.png").write_bytes(b"a picture")
    run_dvc("init", "-q", "--subdir")
    run_dvc("remote", "add", "-q", "-d", "storage", "s3://crowds/versions")
    with proxy(s3.meta.endpoint_url) as server:
        run_dvc("remote", "modify", "storage", "endpointurl", server.address)
        version = add(raw, print)
        server.fault = lambda method, path: 403 if method == "PUT" else 0
        with pytest.raises(dvc.StageError) as refused:
            dvc.run(["push", str(dvc_file(raw))], print)
        first = str(refused.value).splitlines()[0]
        assert first.startswith("dvc push: failed to transfer")
        assert "AccessDenied" in first
        assert "Contents" not in s3.list_objects_v2(Bucket="crowds", Prefix="versions")
        server.fault = lambda method, path: 0
        assert add(raw, print) == version
        dvc.run(["push", str(dvc_file(raw))], print)
    assert len(s3.list_objects_v2(Bucket="crowds", Prefix="versions")["Contents"]) == 2, "a list, and a picture"
