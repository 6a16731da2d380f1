"""The simulated month: what arrives, and what is said of it. Other tests have the nights themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.month import cameras
from benchmarks.month.__main__ import summarise


def people(folder: Path, night: int) -> int:
    return sum(len(json.loads(file.read_text())["shapes"]) for file in folder.rglob(f"night-{night:02d}-*.json"))


def test_a_careless_labeller_leaves_people_out_until_the_labels_are_corrected(tmp_path: Path) -> None:
    careless, corrected = next(iter(cameras.CARELESS.items()))
    true = sum(
        len(cameras.take_picture(camera, careless, "train", careless * 1000 + number)[1])
        for camera in cameras.cameras(careless)
        for number in range(3)
    )
    cameras.arrive(tmp_path, careless, 3)
    assert people(tmp_path, careless) == pytest.approx((1 - cameras.MISSING) * true, rel=0.3)
    pictures = {file: file.read_bytes() for file in tmp_path.rglob("*.png")}
    cameras.arrive(tmp_path, corrected, 3)
    assert people(tmp_path, careless) == true
    assert {file: file.read_bytes() for file in pictures} == pictures


def test_days_get_darker_and_no_use_shares_a_scene() -> None:
    first, last = (cameras.take_picture("cam1", night, "train", 7)[0].mean() for night in (1, cameras.NIGHTS))
    assert last / first == pytest.approx(cameras.DARKEST, abs=0.02)
    shown = [cameras.take_picture("cam1", 1, use, 7)[0] for use in ("train", "held out", "audit")]
    assert not any(np.array_equal(one, other) for one, other in zip(shown, shown[1:] + shown[:1], strict=True))


@pytest.mark.parametrize(("before", "code"), [(10.0, 0), (9.0, 1)])
def test_a_deployment_that_made_counts_worse_is_said(before: float, code: int, capsys) -> None:
    mae = {"gated": 10.0, "always deploy": 12.0, "never retrain": 11.0}
    record = [{"night": 3, "outcome": "GO", "before": before, "mae": mae}]
    assert summarise(record) == code
    assert "mean MAE  10.00" in capsys.readouterr().out
