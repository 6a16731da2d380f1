"""How a run goes, epoch by epoch, and how it went."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from components.crowd import SHARE
from components.data.manifest import Prepared
from components.training.alarms import alarms
from components.training.loggers import Logger

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # of batch norm: buffers, not parameters
COLUMNS = {"loss": 11, "val_mae": 11, "val_rmse": 11, "seconds": 9}  # of the table of epochs, and their widths
HEAD = "    epoch" + "".join(f"{name:>{width}}" for name, width in COLUMNS.items())
IN_TABLE = "in_table"  # an attribute of log records that the table of epochs shows already

log = logging.getLogger(__name__)


class EpochProgress:
    """The epochs of one run: rows of a table above a bar on a terminal, log lines elsewhere, points for its loggers.

    A row is printed once and stays, so that none is lost however many there are. An epoch that comes again, as after a
    lost worker, is shown and logged once. Alarms are warnings."""

    def __init__(self, title: str, total: int, loggers: Sequence[Logger] = ()) -> None:
        self.title, self.total, self.loggers = title, total, loggers
        self.last, self.smallest = -1, float("inf")
        self.halved = False

    def __enter__(self) -> EpochProgress:
        self.live = sys.stderr.isatty()
        self.console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        columns = (BarColumn(30), TextColumn("{task.completed:.1f} of {task.total} epochs"))
        times = (TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
        self.bar = Progress(*columns, *times, console=self.console, transient=True, disable=not self.live)
        self.task = self.bar.add_task("", total=self.total)
        self._handlers = logging.getLogger().handlers
        if self.live:
            terminals = [each for each in self._handlers if type(each) is logging.StreamHandler]
            logging.getLogger().handlers = [
                *(each for each in self._handlers if each not in terminals),
                _AboveBar(self.console),
            ]
            self.console.print(f"{self.title}\n{HEAD}")
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        logging.getLogger().handlers = self._handlers

    def __call__(self, epochs: float, record: dict[str, float] | None) -> None:
        """`epochs` done so far; `record` is what an epoch that has just ended measured."""
        self.bar.update(self.task, completed=epochs)
        if record is None or epochs <= self.last:
            return
        self.last = int(epochs)
        for alarm in alarms(record):
            log.warning("%s: epoch %.0f: warning: %s", self.title, epochs, alarm)
        if skipped := record.get("skipped_steps"):
            log.warning("%s: epoch %.0f: warning: %.0f steps were skipped: not finite", self.title, epochs, skipped)
        if "learning_rate_factor" in record and not self.halved:
            self.halved = True
            log.warning("%s: epoch %.0f: warning: done again at half the learning rates", self.title, epochs)
        line = ", ".join(f"{name} {record[name]:.4g}" for name in ("loss", "val_mae", "val_rmse") if name in record)
        values = (self.title, epochs, self.total, line, record["seconds"])
        log.info("%s: epoch %.0f of %d: %s, %.1f s", *values, extra={IN_TABLE: True})
        self._print_row(record)
        for logger in self.loggers:
            logger.log(self.last, {name: value for name, value in record.items() if name != "epoch"})

    def catch_up(self, history: Sequence[dict[str, float]]) -> None:
        """Epochs of an earlier process: those that were not heard of here."""
        for record in history:
            self(record["epoch"], record)

    def _print_row(self, record: dict[str, float]) -> None:
        """A row of the table; that of the smallest validation MAE so far is marked."""
        best = record.get("val_mae", float("inf")) < self.smallest
        self.smallest = min(self.smallest, record.get("val_mae", float("inf")))
        if self.live:
            cells = (
                f"{record[name]:>{width}.4g}" if name in record else " " * width for name, width in COLUMNS.items()
            )
            self.console.print(f"{record['epoch']:>9.0f}{''.join(cells)}{'  best so far' if best else ''}")


class _AboveBar(logging.Handler):
    """What is logged, printed above the bar of a terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        if not hasattr(record, IN_TABLE):
            self.console.print(record.getMessage())


def describe_training(state: dict[str, Any], prepared: Prepared) -> dict[str, Any]:
    """How a run went, for its record. `state` is the last one of `components.training.fit`."""
    history: list[dict[str, float]] = state["history"]
    best = next(each for each in history if each["epoch"] == state["best"]["epoch"])
    return {
        "epochs": state["epoch"],
        "best_epoch": best["epoch"],
        "resolution": _image_size(prepared),
        "parameters": _count_parameters(state["model"]),
        "alarms": alarms(best),
        **_mean_shares(best),
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
