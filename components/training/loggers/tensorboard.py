"""TensorBoard: `tensorboard --logdir out/STUDY/runs` shows the runs of a study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from torch.utils.tensorboard import SummaryWriter


class TensorBoard:
    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        self._writer = SummaryWriter(str(folder))
        self._writer.add_text("options", "\n".join(f"    {line}" for line in yaml.safe_dump(options).splitlines()))

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def start(folder: Path, run: str, options: Mapping[str, Any]) -> TensorBoard:
    """Event files in `folder`; TensorBoard names a run after its folder."""
    return TensorBoard(folder, options)
