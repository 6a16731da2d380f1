"""What a run's record says of how it went."""

from __future__ import annotations

import pytest
import torch

from components.config import plugins
from components.config.options import Choice
from components.config.plugins import kinds
from components.data.manifest import Prepared
from components.training.progress import describe_training
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
