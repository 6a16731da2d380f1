"""The folder of one trained run: the only reader and writer of it.

Each weights file (safetensors) holds in its header all that is needed to count with it: the counter's kind and options,
stride, scale, how images are preprocessed, what is counted, how it was validated, and of what it was made. The same
stands as run.json in the folder, with how the training went; metrics.csv has a row for each epoch."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from components.config.resolve import Plan
from components.data.manifest import Prepared
from components.errors import UserError
from components.workspace.layout import RunPaths

HEADER = "dotfield"  # the key of the header that holds the metadata as JSON
FORMAT = 1  # of the metadata; a reader refuses a newer one

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
class Weights:
    """One weights file: its metadata, and the tensors of the joint model by name (`counter.`, `density_map.`)."""

    file: Path
    metadata: dict[str, Any]
    tensors: dict[str, Tensor]

    def of(self, part: str) -> dict[str, Tensor]:
        """The tensors of "counter" or "density_map", under their own names."""
        prefix = f"{part}."
        return {name.removeprefix(prefix): each for name, each in self.tensors.items() if name.startswith(prefix)}


def describe_run(plan: Plan, seed: int, state: dict[str, Any], prepared: Prepared) -> dict[str, Any]:
    """What is needed to count with a run, and what it is: the part of its record that does not depend on where and
    when it was made. `state` is the last one of `components.training.fit`."""
    best = state["best"]
    return {
        "format": FORMAT,
        **plan.plain(),
        "seed": seed,
        "stride": state["stride"],
        "scale": state["scale"],
        "objects": prepared.preprocessing.objects,
        "preprocessing": {
            "longest_side": prepared.preprocessing.longest_side,
            "orientation": "as EXIF says",
            "pixels": "RGB, 8 bits",
        },
        "validation": {
            "mae": best["val_mae"],
            "images": len(prepared.split("val")),
            "best_epoch": best["epoch"],
        },
    }


def save_run(paths: RunPaths, record: dict[str, Any], state: dict[str, Any]) -> None:
    """Write a run that ended, run.json last. `state` is the last one of `components.training.fit`."""
    paths.folder.mkdir(parents=True, exist_ok=True)
    paths.record.unlink(missing_ok=True)
    _write_metrics(paths.metrics, state["history"])
    best, last = state["best"], {"epoch": state["epoch"], "model": state["model"]}
    write_weights(paths.best, best["model"], record | {"weights": "best", "epoch": best["epoch"]})
    write_weights(paths.last, last["model"], record | {"weights": "last", "epoch": last["epoch"]})
    paths.record.write_text(json.dumps(record, indent=2) + "\n")


def read_record(paths: RunPaths) -> dict[str, Any] | None:
    """run.json, or None where no run ended in this folder. Raises UserError where it is damaged."""
    if not paths.record.exists():
        return None
    try:
        record: dict[str, Any] = json.loads(paths.record.read_text())
    except ValueError as error:
        raise damaged(paths.record, error) from None
    return record


def read_weights(file: Path) -> Weights:
    """A weights file. Raises UserError where there is none, where it is damaged, or not one of dotfield's."""
    if not file.exists():
        raise UserError(f"{file}: there is no such file: the run has not ended; train it first")
    try:
        with safe_open(file, framework="pt") as opened:
            header = (opened.metadata() or {}).get(HEADER)
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no iterator)
        metadata = None if header is None else json.loads(header)
    except (SafetensorError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # not to be read, as for want of a permission, which says nothing of its contents
        raise damaged(file, error) from None
    if not isinstance(metadata, dict):
        raise UserError(f"{file}: holds no metadata of dotfield, so how to count with it is unknown; train it again")
    if not isinstance(metadata.get("format"), int):
        raise damaged(file, f"its format is {metadata.get('format')!r}")
    if metadata["format"] > FORMAT:
        raise UserError(f"{file}: was written by a newer dotfield (format {metadata['format']}); update this one")
    return Weights(file, metadata, tensors)


def write_weights(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write a weights file."""
    contents = save({name: each.contiguous() for name, each in tensors.items()}, {HEADER: json.dumps(metadata)})
    path.write_bytes(contents)  # unlike safetensors' own writer, this names the file where the disk is full


def _write_metrics(path: Path, history: list[dict[str, float]]) -> None:
    with path.open("w", newline="") as file:
        measured = dict.fromkeys(name for record in history for name in record)  # of some maps alone, in their order
        writer = csv.DictWriter(file, list(dict.fromkeys((*COLUMNS, *measured))), restval="")
        writer.writeheader()
        writer.writerows(history)


def damaged(file: Path, why: object) -> UserError:
    """The error for a file that is cut off, altered, or of another kind."""
    return UserError(f"{file}: is damaged or not one of dotfield's ({why}); train the run again, or get the file again")
