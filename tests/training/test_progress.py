"""What a run's record says of how it went."""

from __future__ import annotations

import io
import logging
import re
import sys

import pytest
import torch

from components.config import plugins
from components.config.options import Choice
from components.config.plugins import kinds
from components.data.manifest import Prepared
from components.training.progress import EpochProgress, describe_training
from components.workspace.processes import configure_logging
from tests import crowds

COUNTERS = [*(Choice(kind=kind) for kind in kinds("counter")), Choice(kind="sfcn", backbone="resnet101")]


@pytest.mark.parametrize("choice", COUNTERS, ids=str)
def test_the_parameters_of_a_counter_are_counted_without_statistics_and_without_the_map(choice, tmp_path) -> None:
    with torch.device("meta"):
        counter = plugins.build("counter", choice.kind, plugins.resolve("counter", choice, "counter"))
    model = {f"counter.{name}": tensor for name, tensor in counter.state_dict().items()}
    state = {
        "epoch": 1,
        "history": [{"epoch": 1, "loss": 1.0, "val_mae": 1.0, "seconds": 1.0}],
        "best": {"epoch": 1},
        "model": model | {"density_map.weight": torch.zeros(7)},
    }
    prepared, _ = crowds.write(tmp_path, [(32, 48)], ["train"])
    described = describe_training(state, Prepared(prepared))
    assert described["parameters"] == sum(each.numel() for each in counter.parameters())
    assert described["resolution"] == "48 x 32"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def history() -> list[dict[str, float]]:
    """More epochs than a terminal has lines; the third is the best of the first four, the fifth of all."""
    errors = [9.0, 8.0, 3.0, 4.0, 1.0] + [20.0] * 55
    return [
        {"epoch": epoch, "loss": 123456.789 / epoch, "val_mae": error, "val_rmse": 2 * error, "seconds": 1.5}
        for epoch, error in enumerate(errors, 1)
    ]


def test_a_terminal_of_80_columns_shows_every_epoch_and_what_is_logged(history, monkeypatch) -> None:
    terminal, said = Terminal(), logging.getLogger("components.training.other")
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    configure_logging(stream=io.StringIO())
    with EpochProgress("a-long-name-of-an-experiment, seed 0", 60) as progress:
        progress.catch_up(history[:30])
        said.warning("maps are [nearly] flat")
        progress.catch_up(history)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", plain) if line.strip() and "epochs" not in line]
    assert lines[0] == "a-long-name-of-an-experiment, seed 0"
    assert lines[1].split() == ["epoch", "loss", "val_mae", "val_rmse", "seconds"]
    rows = [line for line in lines[2:] if line != "maps are [nearly] flat"]
    assert len(rows) == len(lines) - 3
    assert [int(row.split()[0]) for row in rows] == list(range(1, 61))
    assert [int(row.split()[0]) for row in rows if row.endswith("best so far")] == [1, 2, 3, 5]
    assert rows[1].split()[1:5] == ["6.173e+04", "8", "16", "1.5"]
    assert max(map(len, lines)) < 80


def test_in_a_pipe_each_epoch_is_a_line(history, monkeypatch, capsys) -> None:
    configure_logging(stream=sys.stdout)
    with EpochProgress("fixed, seed 0", 60) as progress:
        progress(0.5, None)
        progress.catch_up(history[:2])
    expected = "fixed, seed 0: epoch 2 of 60: loss 6.173e+04, val_mae 8, val_rmse 16, 1.5 s\n"
    out, err = capsys.readouterr()
    assert out.endswith(expected)
    assert out.count("\n") == 2
    assert err == ""
