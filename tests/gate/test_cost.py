"""What counting costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from components.gate.cost import LiveTensors, peak_bytes
from components.runs.folder import read_weights
from components.runs.predictor import Predictor
from tests.runs.test_predictor import saved


def test_the_peak_is_what_lives_at_once() -> None:
    start = torch.zeros(1000)
    with LiveTensors() as live:
        first = start + 1  # 4,000 bytes beside the 4,000 of `start`
        first.view(10, 100)
        del first
        second = start + 2
        assert live.peak == 8000
        third = second * 2
    assert live.peak == 12_000
    assert third.shape == (1000,)


def test_a_larger_network_or_picture_needs_more(tmp_path: Path) -> None:
    small = Predictor(read_weights(saved(tmp_path / "small").best))
    large = Predictor(read_weights(saved(tmp_path / "large", kind="csrnet", weights="random").best))
    picture = np.zeros((96, 128, 3), np.uint8)
    assert peak_bytes(large, picture) > 2 * peak_bytes(small, picture)
    assert peak_bytes(small, np.zeros((192, 256, 3), np.uint8)) > 2 * peak_bytes(small, picture)
