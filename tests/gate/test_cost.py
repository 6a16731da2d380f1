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


def test_it_is_the_weights_and_what_grows_with_the_picture(tmp_path: Path) -> None:
    """MCNN's largest maps have 16 to 32 channels of float32 at a quarter or all of the pixels."""
    weights = read_weights(saved(tmp_path).best)
    own = sum(tensor.nbytes for tensor in weights.of("counter").values())
    predictor, pixels = Predictor(weights), 96 * 128
    peaks = [peak_bytes(predictor, np.zeros((rows * 96, 128, 3), np.uint8)) - own for rows in (1, 2, 4)]
    assert 3 * 4 * pixels < peaks[0] < 100 * 4 * pixels
    assert peaks[2] - peaks[1] == 2 * (peaks[1] - peaks[0]) > 0
