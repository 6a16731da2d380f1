"""DVCLive: `dvc plots show FOLDER/plots/metrics` and DVC's extension of VS Code show the curves while a run trains.

It only writes its files: commits, experiments and `dvc.yaml` are left to the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dvclive.live import Live
from scmrepo.exceptions import SCMError

from components.errors import UserError


class DVCLive:
    def __init__(self, folder: Path) -> None:
        self._live = Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False)

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        self._live.step = epoch
        for name, value in values.items():
            self._live.log_metric(name, value)
        self._live.make_summary()

    def close(self) -> None:
        self._live.end()


def start(folder: Path, run: str, options: Mapping[str, Any]) -> DVCLive:
    """`metrics.json` with the last epoch, and a table of each value by epoch in `plots/metrics`.

    Raises UserError in a Git repository without a commit, which DVCLive cannot name."""
    try:
        return DVCLive(folder)
    except SCMError as error:
        raise UserError(
            f"DVCLive cannot read the Git repository ({error}): make a first commit, or leave dvclive out of "
            "DOTFIELD_LOGGERS"
        ) from None
