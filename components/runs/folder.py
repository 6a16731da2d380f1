"""One run's folder: resolved params, record, metrics by epoch, and weights as safetensors, best and last.

params.yaml        the plan: every option written out
manifest.json      git commit, hashes of data and lock file, seed, versions, hardware, what the counter started from
metrics.csv        one row an epoch
best.safetensors   of the epoch with the smallest MAE on the validation split; last.safetensors, of the last"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as packed

from components.config.options import check
from components.config.resolve import Plan
from components.errors import UserError
from components.training.assemble import assemble
from components.training.fit import State
from components.training.joint import JointModel

COLUMNS = (
    "epoch",
    "seconds",
    "waiting",
    "loss",
    "counting_loss",
    "refinement_loss",
    "val_mae",
    "val_rmse",
    "map_sum_error",
    "map_variance",
    "map_correlation",
)


@dataclass(frozen=True)
class Run:
    """A trained run: its plan, its record (manifest.json) and its model, ready to predict."""

    plan: Plan
    record: dict[str, Any]
    model: JointModel


def save(folder: Path, plan: Plan, state: State, record: dict[str, Any]) -> None:
    """Write a run's folder, the record last."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(plan.model_dump(mode="json"), sort_keys=False))
    _write_metrics(folder / "metrics.csv", state)
    for name, weights in (("best", state["best"]["model"]), ("last", state["model"])):
        contents = packed({key: value.contiguous() for key, value in weights.items()})
        (folder / f"{name}.safetensors").write_bytes(contents)  # a full disk is an OSError, with the file's name
    (folder / "manifest.json").write_text(json.dumps(record, indent=2) + "\n")


def load(folder: Path, weights: str = "best") -> Run:
    """Read a run's folder. Raises UserError where it is incomplete, as the training did not end, or damaged."""
    if not (folder / "manifest.json").exists():
        raise UserError(f"{folder}: holds no finished run; train it first")
    try:
        record = json.loads((folder / "manifest.json").read_text())
        options = yaml.safe_load((folder / "params.yaml").read_text())
        tensors = load_file(folder / f"{weights}.safetensors")
    except (ValueError, yaml.YAMLError, SafetensorError, FileNotFoundError) as error:
        raise UserError(f"{folder}: is damaged ({error}); remove it and train it again") from None
    plan = check(Plan, options, str(folder / "params.yaml"))
    model = assemble(plan, seed=0)
    model.load_state_dict(tensors)
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    return Run(plan, record, model)


def options(folder: Path) -> Any:
    """Every option that a run was made with, as it was written; nothing where that is damaged."""
    try:
        return yaml.safe_load((folder / "params.yaml").read_text())
    except (OSError, yaml.YAMLError):
        return None


def _write_metrics(path: Path, state: State) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(state["history"])
