"""How a run goes, epoch by epoch, and how it went."""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import Any

from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from components.crowd import SHARE
from components.data.manifest import Prepared
from components.training.alarms import alarms

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # of batch norm: buffers, not parameters
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total} epochs [{elapsed}<{remaining}] {postfix}"

log = logging.getLogger(__name__)


class EpochProgress:
    """The epochs of one run: a bar on a terminal, a line for each epoch elsewhere, and alarms when they come."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.halved = title, total, False

    def __enter__(self) -> EpochProgress:
        self.bar = tqdm(total=self.total, desc=self.title, disable=not sys.stderr.isatty(), bar_format=BAR)
        self._redirected = logging_redirect_tqdm()
        self._redirected.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._redirected.__exit__(kind, error, trace)
        self.bar.close()

    def __call__(self, epochs: float, record: dict[str, float] | None) -> None:
        """`epochs` done so far; `record` is what an epoch that has just ended measured."""
        self.bar.update(round(epochs - self.bar.n, 3))
        if record is None:
            return
        for alarm in alarms(record):
            log.warning("%s: epoch %.0f: warning: %s", self.title, epochs, alarm)
        if skipped := record.get("skipped_steps"):
            log.warning("%s: epoch %.0f: warning: %.0f steps were skipped: not finite", self.title, epochs, skipped)
        if "learning_rate_factor" in record and not self.halved:
            self.halved = True
            log.warning("%s: epoch %.0f: warning: done again at half the learning rates", self.title, epochs)
        line = ", ".join(f"{name} {record[name]:.4g}" for name in ("loss", "val_mae", "val_rmse") if name in record)
        self.bar.set_postfix_str(line)
        level = logging.INFO if self.bar.disable else logging.DEBUG  # a bar shows it already
        log.log(level, "%s: epoch %.0f of %d: %s, %.1f s", self.title, epochs, self.total, line, record["seconds"])


def describe_training(state: dict[str, Any], prepared: Prepared) -> dict[str, Any]:
    """How a run went, for its record. `state` is the last one of `components.training.fit`."""
    history: list[dict[str, float]] = state["history"]
    best = state["best"]["epoch"]
    return {
        "epochs": state["epoch"],
        "best_epoch": best,
        "resolution": _image_size(prepared),
        "parameters": _count_parameters(state["model"]),
        "alarms": alarms(history[best - 1]),
        **_mean_shares(history[best - 1]),
        "alarmed_epochs": [each["epoch"] for each in history if alarms(each)],
        "seconds": round(sum(each["seconds"] for each in history), 1),
    }


def _mean_shares(record: dict[str, float]) -> dict[str, list[float]]:
    """The mean shares of a mixture's bandwidths after an epoch, as its option `shares` takes them."""
    shares = [round(value, 4) for name, value in record.items() if name.startswith(SHARE)]
    return {"mean_shares": shares} if shares else {}


def _count_parameters(model: dict[str, Tensor]) -> int:
    """The parameters of the counter, fixed ones too, from the tensors of a joint model by name."""
    return sum(
        value.numel()
        for name, value in model.items()
        if name.startswith("counter.") and name.rpartition(".")[2] not in STATISTICS
    )


def _image_size(prepared: Prepared) -> str:
    """The prepared images' width and height: `256 x 192`, or their ranges."""
    sides = ({row.width for row in prepared.rows}, {row.height for row in prepared.rows})
    return " x ".join(f"{min(side)}" if len(side) == 1 else f"{min(side)}-{max(side)}" for side in sides)
