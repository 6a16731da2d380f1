"""Progress of training, epoch by epoch: a bar on a terminal, plain lines elsewhere, and alarms when they come."""

from __future__ import annotations

import sys

from tqdm import tqdm

from components.training.alarms import alarms

_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total} epochs [{elapsed}<{remaining}] {postfix}"


class Epochs:
    """The epochs of one run: how far it is, and what each epoch measured."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total = title, total
        self.bar = tqdm(total=total, desc=title, unit=" epochs", disable=not sys.stderr.isatty(), bar_format=_FORMAT)

    def __call__(self, epochs: float, record: dict[str, float] | None) -> None:
        self.bar.update(round(epochs - self.bar.n, 3))
        if record is None:
            return
        for alarm in alarms(record):
            self.bar.write(f"{self.title}: epoch {epochs:.0f}: warning: {alarm}")
        line = ", ".join(f"{name} {record[name]:.4g}" for name in ("loss", "val_mae", "val_rmse") if name in record)
        if self.bar.disable:
            print(f"{self.title}: epoch {epochs:.0f} of {self.total}: {line}, {record['seconds']:.1f} s", flush=True)
        else:
            self.bar.set_postfix_str(line)

    def close(self) -> None:
        self.bar.close()
