"""Versions of raw data: kept and pushed by DVC, and named by commits on a branch of the pipeline's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from components.errors import UserError
from components.workspace.layout import Layout
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


def files_of(root: Path) -> list[Path]:
    """What Git keeps of a raw data set that is under DVC: its version, and that Git is not to see its pictures."""
    return [file for file in (dvc_file(root), root.with_name(".gitignore")) if file.exists()]


def keep_report(layout: Layout, log: Callable[[str], None]) -> None:
    """Put the report of what was run so far under DVC, and push it: it is no output of the pipeline, whose own report
    waits until all experiments were run. Raises StageError."""
    file, report = layout.report_dvc, layout.preview.published
    place = {"wdir": os.path.relpath(".", file.parent), "outs": [{"path": str(report)}]}
    file.write_text(yaml.safe_dump(place))  # without a hash, which `dvc commit` adds
    dvc.run(["commit", "--force", "--quiet", str(file)], log)
    dvc.run(["push", str(file)], log)


def require_branch(branch: str) -> None:
    """Raises UserError where nothing can be committed to a branch: it is checked out, or this is no repository."""
    _git("rev-parse", "HEAD")
    if _git("symbolic-ref", "--quiet", "HEAD", check=False) == f"refs/heads/{branch}":
        raise UserError(f"branch: {branch} is checked out here; choose a branch of the pipeline's own")


def commit_files(branch: str, files: Iterable[Path], message: str) -> str:
    """Commit files, as they are, to a branch; the commit's hash. Checkout, index and other branches stay as they are;
    nothing is committed where nothing changed.

    Raises UserError: see `require_branch`, or somebody else moved the branch meanwhile."""
    require_branch(branch)
    name = f"refs/heads/{branch}"
    before = _git("rev-parse", "--verify", "--quiet", name, check=False)
    parent = before or _git("rev-parse", "HEAD")
    top = Path(_git("rev-parse", "--show-toplevel"))
    with TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        _git("read-tree", parent, environment=index)
        for file in files:
            blob = _git("hash-object", "-w", "--", str(file))
            place = (file.parent.resolve() / file.name).relative_to(top).as_posix()
            _git("update-index", "--add", "--cacheinfo", f"100644,{blob},{place}", environment=index)
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
