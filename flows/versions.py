"""Versions of raw data: kept and pushed by DVC, and named by commits on a branch of the pipeline's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from components.errors import UserError
from flows import dvc

AUTHOR = {"NAME": "dotfield", "EMAIL": "dotfield@localhost"}  # of commits that the pipeline makes by itself


def add(root: Path, log: Callable[[str], None]) -> str:
    """Put a raw data set as it is now under DVC; its version, the MD5 of its list of files.

    Raises StageError: DVC refuses it, such as a folder outside the project or one that Git tracks."""
    dvc.run(["add", "--quiet", str(root)], log)
    version: str = yaml.safe_load(dvc_file(root).read_text())["outs"][0]["md5"]
    return version


def dvc_file(root: Path) -> Path:
    """The file beside a raw data set in which DVC notes its version."""
    return root.with_name(f"{root.name}.dvc")


def commit_files(branch: str, files: Iterable[Path], message: str) -> str:
    """Commit files, as they are, to a branch; the commit's hash. Checkout, index and other branches stay as they are;
    nothing is committed where nothing changed.

    Raises UserError: this is no Git repository, the branch is checked out, or somebody else moved it meanwhile."""
    name = f"refs/heads/{branch}"
    if _git("symbolic-ref", "--quiet", "HEAD", check=False) == name:
        raise UserError(f"branch: {branch} is checked out here; choose a branch of the pipeline's own")
    before = _git("rev-parse", "--verify", "--quiet", name, check=False)
    parent = before or _git("rev-parse", "HEAD")
    prefix = _git("rev-parse", "--show-prefix")
    with TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        _git("read-tree", parent, environment=index)
        for file in files:
            blob = _git("hash-object", "-w", "--", str(file))
            _git("update-index", "--add", "--cacheinfo", f"100644,{blob},{prefix}{file.as_posix()}", environment=index)
        tree = _git("write-tree", environment=index)
    if tree == _git("rev-parse", f"{parent}^{{tree}}"):
        return parent
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in AUTHOR.items()}
    commit = _git("commit-tree", tree, "-p", parent, "-m", message, environment=who)
    _git("update-ref", name, commit, before or "0" * 40)
    return commit


def _git(*words: str, check: bool = True, environment: Mapping[str, str] | None = None) -> str:
    """What Git says. Raises UserError: it fails, unless that is no mistake."""
    done = subprocess.run(
        ["git", *words], capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )
    if check and done.returncode:
        raise UserError(f"branch: git {words[0]}: {' '.join(done.stderr.split())}")
    return done.stdout.strip()
