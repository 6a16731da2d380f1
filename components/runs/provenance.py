"""What a run was made of: its fingerprint, under which it can be resumed, and its record."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from components.config.resolve import Plan
from components.data.manifest import Prepared
from components.data.packed import Pack
from components.errors import UserError
from components.networks import in_bf16
from components.runs.folder import read_weights
from components.workspace.layout import LOCK_FILE, PreparedPaths, RunPaths
from components.workspace.sources import code_files, hash_files

LIBRARIES = ("torch", "ray", "numpy", "scipy", "pyarrow", "pillow")


def data_sha256(prepared: PreparedPaths, maps: Path) -> str:
    """The hash of the prepared data and annotation maps that a run reads. Raises UserError where one of the folders
    is not whole, or where the two do not belong together."""
    images, drawn = len(Prepared(prepared.folder).rows), len(Pack(maps))
    if images != drawn:
        raise UserError(f"{maps}: holds {drawn} maps for the {images} images of {prepared.folder}; rasterize again")
    packs = (prepared.images, prepared.regions, maps)
    return hash_files([prepared.manifest, *(file for pack in packs for file in sorted(pack.glob("*.npy")))])


def fingerprint(stage: str, plan: Plan, values: Any, data: str) -> str:
    """Twenty hex digits of all that the results of `stage` ("train" or "search") depend on: the plan, `values` (a seed,
    or the options of a search), the hash of the data, the files that options name, the code, the libraries, and what
    the precision "auto" means on this machine."""
    parts = (
        plan.plain(),
        values,
        data,
        hash_files(_named_files(plan)),
        code_sha256(stage, plan),
        library_versions(),
        in_bf16("auto", _device()),
    )
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


def code_sha256(stage: str, plan: Plan) -> str:
    """The hash of the code that the results of a stage depend on, as it is now."""
    return hash_files(code_files(stage, plan.kinds()))


def check_code(stage: str, plan: Plan, sha256: str) -> None:
    """Raises UserError where the code is not that with which the stage began: a worker that is started again would go
    on from the old state with the new code, and a result would be taken for one of the new code."""
    if code_sha256(stage, plan) != sha256:
        raise UserError(
            f"{plan.experiment}: its code was changed while it ran; undo the change to go on, or give the same command "
            "again to begin with the new code"
        )


def provenance(plan: Plan, started_from: str, data: str, prepared: Prepared, run: str) -> dict[str, Any]:
    """What a run was made of, and where; `run` is its fingerprint."""
    return {
        "fingerprint": run,
        "started_from": started_from,
        "precision": precision(plan),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "code_sha256": code_sha256("train", plan),
        "data_sha256": data,
        "manifest_sha256": hash_files([PreparedPaths(prepared.folder).manifest]),
        "split": prepared.preprocessing.split,
        "lock_sha256": hash_files([LOCK_FILE]) if LOCK_FILE.exists() else None,
        "versions": library_versions(),
        "hardware": _hardware(),
    }


def precision(plan: Plan) -> str:
    """In which the network of a density map, its own or an earlier run's, is computed here: all else is in fp32."""
    options = plan.density_map.plain()
    if "run" in options:
        options = read_weights(RunPaths(Path(options["run"])).best).metadata["density_map"]
    return "bf16" if in_bf16(options.get("precision", "fp32"), _device()) else "fp32"


def library_versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def processor_name() -> str:
    """The processor as the system calls it, such as "AMD EPYC"; where it does not say, the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _named_files(plan: Plan) -> list[Path]:
    """The files that options name; of an earlier run's folder, its best weights. Raises UserError for an absent one."""
    files = [RunPaths(path).best if path.is_dir() else path for path in plan.named_files()]
    for file in files:
        if not file.exists():
            raise UserError(f"{plan.experiment}: there is no file {file}, which an option of it names")
    return files


def _hardware() -> dict[str, Any]:
    """The machine on which the stage runs; with a cluster of many nodes, the driver's."""
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    memory = round(psutil.virtual_memory().total / 2**30, 1)
    return {"machine": platform.machine(), "cpus": psutil.cpu_count(), "memory_gib": memory, "gpus": gpus}


def _git(*words: str) -> str | None:
    """What Git says of this folder; none outside a repository, or without Git."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
