"""Regions of interest from raw files to scores: dots and predictions outside do not count, and nor do losses there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.config.options import Choice
from components.config.study import DatasetEntry, Split
from components.crowd import RawSample, Window
from components.data import prepare
from components.data.manifest import Prepared
from components.data.packed import Pack, PackWriter
from components.density_maps.annotation import annotation_map
from components.evaluation.score import EvalImage, score
from components.training.assemble import assemble
from components.training.joint import JointModel, flip
from components.training.samples import Samples
from tests import crowds

HEIGHT, WIDTH = 48, 64


@dataclass
class Scenes:
    """Eight images of two scenes: of the first only the left three quarters count, of the other all but a corner.

    Or, `slanted`, a border that cuts cells at all angles; or, `whole`, all of each image."""

    border: str = "straight"

    def __len__(self) -> int:
        return 8

    def samples(self, problems):
        random = np.random.default_rng(0)
        for number in range(8):
            region = np.ones((HEIGHT, WIDTH), bool)
            region[:, 48:] = number % 2
            region[:16, :16] &= number % 2 == 0
            if self.border != "straight":
                down, across = np.mgrid[:HEIGHT, :WIDTH]
                region = (across + 1.7 * down > 45) | (self.border == "whole")
            dots = np.array([[8.0, 24.0], [40.0, 40.0], [60.0, 8.0 + number], [4.0, 4.0]])
            perspective = np.broadcast_to(np.arange(HEIGHT, dtype=float)[:, None], (HEIGHT, WIDTH))
            pixels = random.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            half = ("train", "train", "train", "train", "val", "val", "test", "test")[number]
            yield RawSample(f"i{number}", pixels, dots, half, region, perspective, "ab"[number % 2])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return _prepare(tmp_path, monkeypatch, None)


def _prepare(folder: Path, monkeypatch: pytest.MonkeyPatch, longest_side: int | None, border: str = "straight") -> Path:
    """Prepared data and maps of `Scenes`, as the stages write them."""
    monkeypatch.setattr(prepare, "open_dataset", lambda entry, where: Scenes(border))
    entry = DatasetEntry(source=Choice(kind="mall"), longest_side=longest_side, split=Split())
    prepare.prepare_dataset(entry, "test", "Scenes", folder / "prepared")
    prepared = Prepared(folder / "prepared")
    with PackWriter(folder / "maps", np.float32) as pack:
        for row in prepared.rows:
            pack.append(annotation_map(row, np.full(len(row.dots), 4.0), prepared.region(row, 4)))
    return folder


def test_dots_outside_are_left_out_and_scenes_share_their_region(folder: Path) -> None:
    rows = Prepared(folder / "prepared").rows
    assert [len(row.dots) for row in rows] == [3, 3] * 4  # the third, or the last
    assert [row.scene for row in rows] == ["a", "b"] * 4
    assert [row.region for row in rows] == [0, 1] * 4
    assert len(Pack(folder / "prepared" / "regions")) == 2


def test_a_cell_counts_by_its_share_within_the_region(folder: Path) -> None:
    prepared = Prepared(folder / "prepared")
    shares = prepared.region(prepared.rows[0], 32)
    np.testing.assert_array_equal(shares, [[1, 0.5], [1, 0.5]])  # 48 of 64 px; the lower cells have 16 px inside


def test_the_map_of_an_image_with_a_region_sums_to_its_dots_and_is_0_outside(folder: Path) -> None:
    first = Pack(folder / "maps")[0]
    assert first.sum() == pytest.approx(3, abs=1e-5)
    assert np.abs(first[:, 12:]).max() == 0


@pytest.mark.parametrize("longest_side", [None, 32])
def test_perspective_is_known_at_every_dot_in_prepared_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest_side: int | None
) -> None:
    row = Prepared(_prepare(tmp_path, monkeypatch, longest_side) / "prepared").rows[0]
    assert row.perspective is not None
    scale = 1.0 if longest_side is None else 0.5
    np.testing.assert_allclose(row.perspective, scale * np.array([24, 40, 4]))  # pixels a metre shrink with the image


def test_predictions_outside_do_not_count() -> None:
    region = np.array([[1, 0.25], [0, 1]], np.float32)
    [result] = score(
        lambda image: np.full((2, 2), 8.0),
        [EvalImage("a", np.zeros((8, 8, 3), np.uint8), np.array([[1.0, 1.0]]), region, "s")],
        4,
    )
    assert (result.prediction, result.truth, result.scene) == (18.0, 1.0, "s")
    assert result.game[:2] == (17.0, 17.0)  # 8 - 1, 2, 0, 8


@pytest.fixture
def model() -> JointModel:
    torch.set_num_threads(1)
    return assemble(crowds.plan(), 0)


def test_a_loss_neither_asks_for_nor_punishes_what_is_outside(folder: Path, model: JointModel) -> None:
    training = Samples(
        Prepared(folder / "prepared"), Pack(folder / "maps"), "train", stride=4, crop=(32, 32), flip=True
    )
    for batch, _ in training.batches(1, 4):
        assert batch is not None
        corners = [(crop.window.top // 4, crop.window.left // 4) for crop in batch.crops]
        pairs = zip(batch.crops, corners, strict=True)
        outside = torch.stack([crop.region[None, top : top + 8, left : left + 8] == 0 for crop, (top, left) in pairs])
        assert outside.any()
        predicted = torch.rand(len(outside), 1, 8, 8)
        maps = model.target(batch.crops)
        haze = predicted + 100 * flip(outside.float(), batch.crops)
        loss = model.counting_loss(predicted, maps, batch.crops)
        torch.testing.assert_close(model.counting_loss(haze, maps, batch.crops), loss)
        assert (model.counting_loss(predicted + 1, maps, batch.crops) > loss).all()


@pytest.mark.parametrize(
    "kind",
    [
        {"kind": "identity"},
        {"kind": "refined", "widths": [4]},
        {"kind": "generated"},
        {"kind": "kernel"},
        {"kind": "mixture"},
    ],
    ids=lambda options: options["kind"],
)
def test_the_map_of_a_crop_is_the_whole_one_cut_where_there_are_regions(folder: Path, kind: dict) -> None:
    joint = assemble(crowds.plan(density_map=kind), 0)
    training = Samples(Prepared(folder / "prepared"), Pack(folder / "maps"), "train", stride=4)
    crop = training.full_crop(0)
    whole = joint.target([crop])
    window = Window(16, 24, 16, 32)
    part = joint.target([crop.at(window)])
    torch.testing.assert_close(part, whole[..., 4:8, 6:14], rtol=1e-4, atol=1e-4)
    assert whole[..., 12:].abs().max() == 0


HARD_NORM = {"kind": "generated", "refinement": "hard_norm", "sigmas": [1, 4]}
MCNN, CSRNET = {"kind": "mcnn"}, {"kind": "csrnet"}


@pytest.mark.parametrize("counter", [MCNN, CSRNET], ids=lambda each: each["kind"])
@pytest.mark.parametrize(
    "kind",
    [
        {"kind": "identity"},
        {"kind": "kernel"},
        {"kind": "mixture"},
        HARD_NORM,
        {"kind": "generated", "fusion": "naive", "sigmas": [1, 4]},
    ],
    ids=lambda each: "-".join(str(value) for value in each.values()),
)
@pytest.mark.parametrize("longest_side", [None, 50])
def test_what_counts_of_a_map_sums_to_the_people_inside_whatever_the_border_cuts_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: dict, counter: dict, longest_side: int | None
) -> None:
    folder = _prepare(tmp_path, monkeypatch, longest_side, "slanted")
    joint = assemble(crowds.plan(density_map=kind, counter=counter), 0)
    training = Samples(Prepared(folder / "prepared"), Pack(folder / "maps"), "train", stride=joint.stride)
    crop = training.full_crop(0)
    counted, drawn = joint.target([crop]), joint.density_map([crop])
    assert len(crop.dots) == 3
    assert counted.sum().item() / joint.scale == pytest.approx(3, rel=1e-4)
    assert drawn.sum() > 1.01 * counted.sum()  # kernels reach out of the region


def test_a_frozen_generator_of_a_coarser_grid_holds_the_people_inside_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _prepare(tmp_path, monkeypatch, None, "slanted")
    earlier = crowds.plan(density_map=HARD_NORM, counter=CSRNET)
    weights = assemble(earlier, 0).state_dict()
    crowds.save_weights(tmp_path / "run", earlier, weights, 8, 10.0)
    joint = assemble(crowds.plan(density_map={"kind": "frozen", "run": str(tmp_path / "run")}), 0)
    crop = Samples(Prepared(folder / "prepared"), Pack(folder / "maps"), "train", stride=4).full_crop(0)
    assert joint.target([crop]).sum().item() / joint.scale == pytest.approx(3, rel=1e-4)


@pytest.mark.parametrize("longest_side", [None, 50])
def test_a_region_that_holds_the_whole_image_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest_side: int | None
) -> None:
    """Also where cells reach over the image's border: 50 x 38 px."""
    folder = _prepare(tmp_path, monkeypatch, longest_side, "whole")
    prepared, model = Prepared(folder / "prepared"), assemble(crowds.plan(density_map={"kind": "mixture"}), 0)
    batch, _ = next(Samples(prepared, Pack(folder / "maps"), "train", stride=4, flip=True).batches(1, 4))
    without = replace(batch, crops=[replace(crop, region=None) for crop in batch.crops])
    assert any(crop.flipped for crop in batch.crops)
    torch.testing.assert_close(model.target(batch.crops), model.target(without.crops))
    losses, expected = (model(each, learn_maps=True).counting for each in (batch, without))
    torch.testing.assert_close(losses, expected)
    row = prepared.rows[0]
    drawn = annotation_map(row, np.full(len(row.dots), 4.0))
    np.testing.assert_allclose(Pack(folder / "maps")[0], drawn, atol=1e-6)


def test_a_counter_s_gradient_is_zero_for_what_it_says_outside(folder: Path, model: JointModel) -> None:
    """Mirrored crops included: the region's mask is mirrored with them."""
    training = Samples(Prepared(folder / "prepared"), Pack(folder / "maps"), "train", stride=4, flip=True)
    for batch, _ in training.batches(3, 4):
        assert 0 < sum(crop.flipped for crop in batch.crops) < 4
        predicted = torch.rand(4, 1, 12, 16, requires_grad=True)
        model.counting_loss(predicted, model.target(batch.crops), batch.crops).sum().backward()
        assert predicted.grad is not None
        for crop, gradient in zip(batch.crops, predicted.grad[:, 0], strict=True):
            outside = np.zeros((12, 16), bool)
            outside[:4, :4] = crop.number % 2 == 1
            outside[:, 12:] = crop.number % 2 == 0
            seen = outside[:, ::-1] if crop.flipped else outside
            np.testing.assert_array_equal(gradient.numpy() == 0, seen)
