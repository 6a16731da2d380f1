"""Weights & Biases (`pip install 'dotfield[wandb]'`), offline unless WANDB_MODE says otherwise.

`wandb sync FOLDER/wandb/offline-run-*` sends a run that was written offline."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb


class WeightsAndBiases:
    def __init__(self, folder: Path, run: str, options: Mapping[str, Any]) -> None:
        self._run = wandb.init(
            project=str(options["study"]),
            name=run,
            dir=str(folder),
            config=dict(options),
            mode=os.environ.get("WANDB_MODE", "offline"),
            settings=wandb.Settings(symlink=False, silent=True),  # DVC follows links, which would store a run twice
        )

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=epoch)

    def close(self) -> None:
        self._run.finish()


def start(folder: Path, run: str, options: Mapping[str, Any]) -> WeightsAndBiases:
    """A run named `run` in the project that is called like the study."""
    return WeightsAndBiases(folder, run, options)
