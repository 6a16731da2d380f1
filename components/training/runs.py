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
from safetensors.torch import load_file, save_file

from components.params import check
from components.training.fit import State
from components.training.joint import JointModel
from components.training.plan import Plan, assemble

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
        save_file({key: value.contiguous() for key, value in weights.items()}, folder / f"{name}.safetensors")
    (folder / "manifest.json").write_text(json.dumps(record, indent=2) + "\n")


def load(folder: Path, weights: str = "best") -> Run:
    """Read a run's folder. Raises ValueError where it is incomplete: the training of this seed did not end."""
    if not (folder / "manifest.json").exists():
        raise ValueError(f"{folder}: holds no finished run; train it first")
    plan = check(Plan, yaml.safe_load((folder / "params.yaml").read_text()), str(folder / "params.yaml"))
    model = assemble(plan, seed=0)
    model.load_state_dict(load_file(folder / f"{weights}.safetensors"))
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    return Run(plan, json.loads((folder / "manifest.json").read_text()), model)


def _write_metrics(path: Path, state: State) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(state["history"])
