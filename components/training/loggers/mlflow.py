"""MLflow (`pip install 'dotfield[mlflow]'`): a database beside the run; MLFLOW_TRACKING_URI names a server instead.

`mlflow ui --backend-store-uri sqlite:///out/STUDY/runs/EXPERIMENT/seed-0/logs/mlflow/mlflow.db` shows it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient

LONGEST = 500  # characters of a parameter's value that every server takes


class MLflow:
    def __init__(self, address: str, artifacts: str | None, run: str, options: Mapping[str, Any]) -> None:
        self._client = MlflowClient(address)
        study = str(options["study"])
        found = self._client.get_experiment_by_name(study)
        experiment = found.experiment_id if found else self._client.create_experiment(study, artifacts)
        self._run = self._client.create_run(experiment, run_name=run).info.run_id
        for key, value in _flat(options).items():
            self._client.log_param(self._run, key, str(value)[:LONGEST])

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=epoch)

    def close(self) -> None:
        self._client.set_terminated(self._run)


def start(folder: Path, run: str, options: Mapping[str, Any]) -> MLflow:
    """A run named `run` in the MLflow experiment that is called like the study."""
    if address := os.environ.get("MLFLOW_TRACKING_URI"):
        return MLflow(address, None, run, options)
    folder = folder.resolve()
    return MLflow(f"sqlite:///{folder}/mlflow.db", (folder / "artifacts").as_uri(), run, options)


def _flat(options: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """`{"training": {"epochs": 3}}` as `{"training.epochs": 3}`."""
    flat: dict[str, Any] = {}
    for key, value in options.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return flat
