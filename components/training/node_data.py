"""Prepared data on the nodes of a cluster, which need share no disk with the machine that prepared them.

Where RAY_ADDRESS names a cluster, prepared data and maps are copied once to the storage of unfinished work, under their
hash, and each node fetches them from there once. What a node has fetched stays in its cache until the cache is larger
than its budget: then what was not used for longest is removed. Without a cluster the workers read the folders where
they are."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout
from pyarrow import fs

from components.errors import UserError
from components.runs.provenance import data_sha256
from components.training.assemble import TrainingData, open_data
from components.workspace.environment import positive_number
from components.workspace.layout import NODE_CACHE, NodeDataPaths, PreparedPaths

BUDGET = "DOTFIELD_CACHE_GIB"
DEFAULT_BUDGET = 100.0  # GiB


@dataclass(frozen=True)
class SharedData:
    """Where a worker finds prepared data and maps: in folders of the driver, or in the storage, by their SHA-256."""

    root: Path  # the driver's working directory
    folders: NodeDataPaths
    storage: tuple[fs.FileSystem, str] | None = None
    sha256: str = ""


def share(data: TrainingData, filesystem: fs.FileSystem, root: str) -> SharedData:
    """Let the workers find this data; on a cluster, in the folder `root` of the storage.

    Raises OSError where the storage cannot be written."""
    folders = NodeDataPaths(data.prepared_folder.resolve(), data.maps_folder.resolve())
    if not os.environ.get("RAY_ADDRESS"):
        return SharedData(Path.cwd(), folders)
    sha256 = data_sha256(PreparedPaths(folders.prepared), folders.maps)
    target = f"{root}/data/{sha256}"
    if filesystem.get_file_info(f"{target}/complete").type == fs.FileType.NotFound:
        for name, folder in folders._asdict().items():
            filesystem.create_dir(f"{target}/{name}")
            fs.copy_files(str(folder), f"{target}/{name}", destination_filesystem=filesystem)
        with filesystem.open_output_stream(f"{target}/complete"):  # written last
            pass
    return SharedData(Path.cwd(), folders, (filesystem, target), sha256)


def enter(data: SharedData) -> None:
    """Work in the driver's directory, which Ray changes: a relative path in params means the same as there. On a node
    that does not have it, stay."""
    if data.root.is_dir():
        os.chdir(data.root)


def open_shared(data: SharedData) -> TrainingData:
    """The data on this node; fetched first where this node has none yet, by one of its workers.

    Raises UserError where the storage has no such data, or other."""
    if data.storage is None:
        return open_data(*data.folders)
    folder = Path(os.environ.get("DOTFIELD_CACHE", NODE_CACHE)).expanduser() / data.sha256
    budget = int(positive_number(BUDGET, DEFAULT_BUDGET, "GiB") * 2**30)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        _mark_used(folder)
        os.utime(_mark(folder))
        if fetched := not folder.exists():
            _fetch(*data.storage, data.sha256, folder)
    if fetched:
        with FileLock(folder.with_name("budget.lock")):
            _keep_within(folder.parent, budget)
    return open_data(*NodeDataPaths.below(folder))


def _mark(folder: Path) -> Path:
    """A file that is as old as the last use of a cached folder, and locked by those that use it."""
    return folder.with_suffix(".used")


@cache
def _mark_used(folder: Path) -> BinaryIO:
    """Say that this process uses a folder, until it ends, however it does."""
    file = _mark(folder).open("ab")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _keep_within(node_cache: Path, budget: int) -> None:
    """Remove what no process uses, the longest unused first, until at most `budget` bytes are left, or all are used.
    Folders of others, which have no mark, are left alone."""
    folders = {folder.with_suffix("") for folder in node_cache.iterdir() if folder.is_dir() and _mark(folder).exists()}
    sizes = {folder: _size(folder) + _size(_unfinished(folder)) for folder in folders}
    for folder in sorted(folders, key=lambda folder: _mark(folder).stat().st_mtime_ns):
        if sum(sizes.values()) > budget and _remove_unused(folder):
            del sizes[folder]


def _size(folder: Path) -> int:
    """Bytes of the files below a folder, which its own process may be moving."""
    total = 0
    with suppress(FileNotFoundError):
        for file in folder.rglob("*"):
            total += file.stat().st_size
    return total


def _remove_unused(folder: Path) -> bool:
    """Remove a cached folder, unless a process uses or fetches it; whether it did. One that is ended meanwhile leaves
    no folder that looks whole."""
    try:
        with FileLock(f"{folder}.lock", timeout=0), _mark(folder).open("ab") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(_unfinished(folder), ignore_errors=True)
            if folder.exists():
                shutil.rmtree(folder.rename(_unfinished(folder)))
    except (Timeout, BlockingIOError):
        return False
    return True


def _unfinished(folder: Path) -> Path:
    """What is not yet, or no longer, all of a folder."""
    return folder.with_suffix(".unfinished")


def _fetch(filesystem: fs.FileSystem, source: str, sha256: str, folder: Path) -> None:
    unfinished = _unfinished(folder)
    shutil.rmtree(unfinished, ignore_errors=True)  # of a worker that was killed
    paths = NodeDataPaths.below(unfinished)
    try:
        for name, target in paths._asdict().items():
            target.mkdir(parents=True)
            fs.copy_files(f"{source}/{name}", str(target), source_filesystem=filesystem)
        found = data_sha256(PreparedPaths(paths.prepared), paths.maps)
    except (FileNotFoundError, UserError) as error:
        raise UserError(
            f"{source}: the prepared data are not there ({error}); DOTFIELD_STORAGE must be a folder or address that "
            "all nodes reach"
        ) from None
    if found != sha256:
        raise UserError(f"{source}: its SHA-256 is {found[:12]}, not that of its name; remove it: it is written again")
    unfinished.rename(folder)
