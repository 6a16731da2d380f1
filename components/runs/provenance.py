"""What a run is known by: the fingerprint under which it can be resumed, and the record that stands in its folder."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from components.config.resolve import Plan, plan, with_values
from components.config.study import Study
from components.data.manifest import Prepared
from components.data.packed import Pack
from components.errors import UserError
from components.networks import in_bf16
from components.runs import folder as runs
from components.training.alarms import alarms
from components.training.fit import State
from components.workspace.layout import Layout

LOCK = Path("requirements.lock")
NAMED = ("torch", "ray", "numpy", "scipy", "pyarrow", "pillow")


def of_seed(study: Study, layout: Layout, name: str, seed: int) -> Plan:
    """The plan of one run: `density_map.run` is a folder, also where the study names an experiment."""
    resolved, source = plan(study, name), study.source(name)
    if source is None:
        return resolved
    return with_values(resolved, {"density_map.run": str(layout.run(source, seed))}, f"experiments.{name}")


def weights_read(resolved: Plan) -> list[Path]:
    """The weights of an earlier run that a density map is made with: they are part of what a run depends on."""
    run = resolved.density_map.options.get("run")
    return sorted(Path(run).glob("best.safetensors")) if run else []


def fingerprint(values: Any, files: Iterable[Path]) -> str:
    """Twenty hex digits of `values`, files' contents, the code that makes runs, the versions that it runs with, and
    what the precision "auto" means here."""
    here = json.dumps([versions(), in_bf16("auto", _device())])
    parts = [json.dumps(values, sort_keys=True, default=str), here, file_hash([*_code(), *files])]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


def data_files(prepared: Path, maps: Path) -> list[Path]:
    """The files that a run reads. Raises UserError where one of the folders is not whole, or the two do not belong
    together."""
    images, drawn = len(Prepared(prepared).rows), len(Pack(maps))
    if images != drawn:
        raise UserError(f"{maps}: holds {drawn} maps for the {images} images of {prepared}; run `rasterize` again")
    packs = (prepared / "images", prepared / "regions", maps)
    return [prepared / "manifest.parquet", *(file for pack in packs for file in sorted(pack.glob("*.npy")))]


def file_hash(files: Iterable[Path]) -> str:
    """SHA-256 of the files' contents, in their order."""
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def record(plan: Plan, seed: int, state: State, started_from: str, files: list[Path], size: str) -> dict[str, Any]:
    """manifest.json of a run that ended."""
    history = state["history"]
    return {
        "study": plan.study,
        "experiment": plan.experiment,
        "seed": seed,
        "preset": plan.preset,
        "precision": precision(plan),
        "started_from": started_from,
        "resolution": size,
        "stride": state["stride"],
        "best_epoch": state["best"]["epoch"],
        "epochs": state["epoch"],
        "alarms": alarms(history[state["best"]["epoch"] - 1]),
        "alarmed_epochs": [each["epoch"] for each in history if alarms(each)],
        "seconds": round(sum(each["seconds"] for each in history), 1),
        "parameters": sum(value.numel() for name, value in state["model"].items() if name.startswith("counter.")),
        "git_commit": git_commit(),
        "data_sha256": file_hash(files),
        "lock_sha256": file_hash([LOCK]) if LOCK.exists() else None,
        "versions": versions(),
        "hardware": hardware(),
    }


def precision(plan: Plan) -> str:
    """In which the network of a density map, its own or an earlier run's, is computed here: all else is in fp32."""
    asked = plan.density_map.options
    if "run" in asked:
        asked = runs.options(Path(asked["run"]))["density_map"]
    return "bf16" if in_bf16(asked.get("precision", "fp32"), _device()) else "fp32"


def versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in NAMED}


def hardware() -> dict[str, Any]:
    """The machine that asked for the run; with a cluster of many nodes, the driver's."""
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    memory = round(psutil.virtual_memory().total / 2**30, 1)
    return {"machine": platform.machine(), "cpus": psutil.cpu_count(), "memory_gib": memory, "gpus": gpus}


def git_commit() -> str | None:
    """The commit of the work tree, "-dirty" where files differ from it; none outside a repository."""
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=40"], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _code() -> list[Path]:
    root = Path(__file__).parents[1]
    return sorted(path for path in root.rglob("*.py") if path.parts[len(root.parts)] not in ("publish", "cli.py"))
