"""The rasterize stage, run as DVC runs it: a prepared data set in, a pack of maps out, one line for a mistake."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from components.config.load import load_study
from components.data.manifest import SCHEMA
from components.data.packed import Pack, PackWriter
from components.density_maps.gaussian import draw
from components.errors import UserError
from components.stages.rasterize import rasterize
from components.workspace.layout import Layout
from components.workspace.settings import write_settings
from tests.conftest import ROOT

STUDY = """
study: small
title: Three images
datasets: {crowd: {source: {kind: synthetic}}}
maps:
  wide: {dataset: crowd, kernel: {kind: fixed, sigma: 3}}
  near: {dataset: crowd, kernel: {kind: adaptive}}
  typo: {dataset: crowd, kernel: {kind: adaptiv}}
  negative: {dataset: crowd, kernel: {kind: fixed, sigma: -1}}
experiments: {one: {title: one, dataset: crowd, counter: {kind: mcnn}, annotation: wide}}
publish: {baseline: one}
"""
SIZES = [(32, 48), (37, 41), (1, 3)]
DOTS = [[(5.0, 6.0), (20.0, 30.0), (48.0, 32.0), (20.0, 30.0), (1.0, 31.0)], [], [(1.5, 0.5)]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's root with a study of three prepared images: a crowd with dots on the border, none, one in 3 px."""
    monkeypatch.chdir(tmp_path)
    Path("params/small").mkdir(parents=True)
    Path("params/small/study.yaml").write_text(STUDY)
    folder = Layout("small").prepared("crowd").folder
    write_settings(load_study(Path("params/small/study.yaml")), Layout("small"))
    with PackWriter(folder / "images", np.uint8) as pack:
        for height, width in SIZES:
            pack.append(np.zeros((height, width, 3), np.uint8))
    pq.write_table(
        pa.Table.from_pylist([_row(*image) for image in enumerate(SIZES)], SCHEMA), folder / "manifest.parquet"
    )
    return tmp_path


def _row(number: int, size: tuple[int, int]) -> dict:
    x, y = zip(*DOTS[number], strict=True) if DOTS[number] else ((), ())
    row = {"id": f"image-{number}", "split": "train", "height": size[0], "width": size[1], "scale": 1.0}
    return row | {"x": list(x), "y": list(y), "group": number, "sha256": ""}


def _stage(*names: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "components.stages.rasterize", *names]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_maps_are_packed_in_the_order_of_the_manifest(project: Path) -> None:
    result = _stage("small", "wide")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "rasterize wide: 3 of 3 maps"
    maps = Pack(project / "out/small/maps/wide")
    assert [maps[number].shape for number in range(len(maps))] == [(8, 12), (10, 11), (1, 1)]
    assert [maps[number].sum() for number in range(3)] == pytest.approx([5, 0, 1], abs=1e-5)
    assert maps[0].dtype == np.float32
    expected = draw(torch.tensor(DOTS[0], dtype=torch.float64), 3.0, SIZES[0])
    np.testing.assert_array_equal(maps[0], expected.numpy())


def test_two_kinds_differ_in_shape_and_agree_in_count(project: Path) -> None:
    layout = Layout("small")
    for name in ("wide", "near"):
        rasterize(layout, name)
    wide, near = Pack(layout.maps("wide"))[0], Pack(layout.maps("near"))[0]
    assert np.abs(wide - near).max() > 0.01
    assert wide.sum() == pytest.approx(near.sum(), abs=1e-5)


def test_drawing_again_gives_the_same_bytes(project: Path) -> None:
    layout = Layout("small")
    rasterize(layout, "near")
    first = (layout.maps("near") / "data.npy").read_bytes()
    rasterize(layout, "near")
    assert (layout.maps("near") / "data.npy").read_bytes() == first


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("other", "settings/maps/other.yaml: no such file; run the stage resolve first"),
        ("typo", "maps.typo.kernel: there is no drawn map 'adaptiv'; kinds: adaptive, fixed"),
        ("negative", "maps.negative.kernel: sigma: Input should be greater than 0, not -1"),
    ],
)
def test_a_mistake_in_params_is_named_and_writes_nothing(project: Path, name: str, says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        rasterize(Layout("small"), name)
    assert not (project / "out/small/maps").exists()


def test_data_that_is_not_prepared_is_asked_for_in_one_line(project: Path) -> None:
    Layout("small").prepared("crowd").manifest.unlink()
    result = _stage("small", "wide")
    assert result.returncode == 2
    says = "crowd is not prepared yet; run `components.stages.prepare` for it first"
    assert result.stderr == f"rasterize: out/small/prepared/crowd: {says}\n"
