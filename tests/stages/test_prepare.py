"""The prepare stage: what a manifest holds, what the report says, and what happens to bad data."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.config.study import DatasetEntry
from components.crowd import Problem, RawSample
from components.data.decode import decode_sample, keep_dots_inside, prepare_images, resize_to_longest_side
from components.data.manifest import SCHEMA, Prepared, Preprocessing
from components.data.prepare import prepare_dataset
from components.datasets.synthetic import Params, scene
from components.errors import UserError
from tests.conftest import ROOT
from tests.raw.make import write_pair, write_truth

RAW = Path(__file__).parents[1] / "raw" / "shanghaitech"


def entry(root: Path, part: str = "A", **options: object) -> DatasetEntry:
    source = {"kind": "shanghaitech", "root": str(root), "part": part}
    return DatasetEntry.model_validate({"source": source, "split": {"val": 0.5, "test": 0.2}} | options)


def run(chosen: DatasetEntry, folder: Path) -> tuple[Prepared, dict]:
    prepare_dataset(chosen, "here", "Data set", folder)
    return Prepared(folder), json.loads((folder / "report.json").read_text())


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A training half of six different scenes."""
    for number in range(1, 7):
        write_pair(tmp_path / "raw/part_A/train_data", "ground-truth", number, seed=number)
    return tmp_path / "raw"


def test_the_manifest_holds_every_image_with_its_dots(tmp_path: Path) -> None:
    prepared, report = run(entry(RAW), tmp_path / "out")
    assert pq.read_schema(tmp_path / "out/manifest.parquet").equals(SCHEMA)
    assert prepared.preprocessing == Preprocessing(None, "people", report["notes"][0])
    assert sorted((row.id, row.split) for row in prepared.rows if row.split == "test") == [
        ("test-IMG_1", "test"),
        ("test-IMG_2", "test"),
    ]
    assert sorted(row.split for row in prepared.rows if row.id.startswith("train")) == ["train", "val"]
    for row in prepared.rows:
        half, name = row.id.split("-")
        raw = RAW / f"part_A/{half}_data/images/{name}.jpg"
        assert (prepared.images[row.number] == np.asarray(Image.open(raw).convert("RGB"))).all()
    assert report["splits"]["all"]["dots"] == sum(len(row.dots) for row in prepared.rows)
    assert report["problems"] == []
    assert "No problem" in (tmp_path / "out/report.md").read_text()


def test_the_hash_is_the_raw_file_s(tmp_path: Path) -> None:
    run(entry(RAW), tmp_path)
    row = pq.read_table(tmp_path / "manifest.parquet").to_pylist()[0]
    assert row["id"] == "train-IMG_2"
    assert row["sha256"] == hashlib.sha256((RAW / "part_A/train_data/images/IMG_2.jpg").read_bytes()).hexdigest()


def test_the_same_raw_data_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(entry(RAW, longest_side=32), tmp_path / name)
    for path in (path for path in (tmp_path / "one").rglob("*") if path.is_file()):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_made_images_are_prepared_too(tmp_path: Path) -> None:
    source = {"kind": "synthetic", "images": 10, "height": 48, "width": 64}
    prepared, report = run(DatasetEntry.model_validate({"source": source}), tmp_path)
    assert [len(prepared.split(name)) for name in ("train", "val", "test")] == [6, 2, 2]
    image, dots = scene(Params(images=10, height=48, width=64), 4)
    assert (prepared.images[4] == image).all()
    assert prepared.rows[4].dots.tolist() == dots.tolist()
    assert report["notes"] == [
        "The splits of this data set are ours (it has no published splits): "
        "test is 0.2 and validation 0.2 of the images, drawn by seed 0."
    ]


def test_scaling_takes_the_dots_along() -> None:
    """A bright square keeps its centre, in pixel edges, when image and dot are scaled."""
    pixels = np.zeros((90, 120, 3), np.uint8)
    pixels[36:48, 60:72] = 255
    small, scale = resize_to_longest_side(Image.fromarray(pixels), 40)
    assert (small.size, scale) == ((40, 30), 1 / 3)
    grey = np.asarray(small, float)[..., 0]
    centre = [(grey.sum(axis=axis) * (np.arange(size) + 0.5)).sum() / grey.sum() for axis, size in ((0, 40), (1, 30))]
    assert centre == pytest.approx([66 / 3, 42 / 3], abs=0.02)


def test_small_images_are_not_enlarged(tmp_path: Path) -> None:
    prepared, _ = run(entry(RAW, longest_side=1000), tmp_path)
    assert {(row.height, row.width) for row in prepared.rows} == {(48, 64)}


def test_dots_on_the_far_edge_stay_inside_when_sides_are_rounded(raw: Path, tmp_path: Path) -> None:
    write_truth(raw / "part_A/train_data/ground-truth/GT_IMG_1.mat", np.array([[64.0, 48.0], [0, 0]]))
    prepared, _ = run(entry(raw, longest_side=37), tmp_path / "out")
    row = next(row for row in prepared.rows if row.id == "train-IMG_1")
    assert (row.width, row.height) == (37, 28)  # 48 * 37 / 64 = 27.75
    assert row.dots.tolist() == [[37, 28], [0, 0]]


def test_dots_outside_are_dropped_and_coinciding_ones_kept() -> None:
    problems: list[Problem] = []
    dots = np.array([[1, 2], [1, 2], [10, 5], [10.01, 5], [-0.01, 0], [0, 0]])
    kept = keep_dots_inside(dots, (10, 5), "a.jpg", problems)
    assert kept.tolist() == [[1, 2], [1, 2], [10, 5], [0, 0]]
    assert problems == [
        Problem("a.jpg", "2 dots outside the image of 10 x 5 px", "dropped", "dots-outside"),
        Problem("a.jpg", "1 dot in the same place as another", "kept: they are people too", "dots-coincide"),
    ]


def test_an_image_with_a_dot_whose_place_is_no_number_is_left_out() -> None:
    class TwoImages:
        def __len__(self) -> int:
            return 2

        def samples(self, problems: list[Problem]) -> Iterator[RawSample]:
            for name, last in (("a", [np.nan, 1]), ("b", [3.0, 1.0])):
                yield RawSample(name, np.zeros((5, 10, 3), np.uint8), np.array([[1.0, 2.0], last]))

    problems: list[Problem] = []
    assert [image.id for image in prepare_images(TwoImages(), None, problems)] == ["b"]
    assert problems == [Problem("a", "1 dot whose place is not a number", "the image is left out", "dots-invalid")]
    assert problems[0].lost


def test_no_dots_at_all_are_fine() -> None:
    problems: list[Problem] = []
    assert keep_dots_inside(np.zeros((0, 2)), (10, 5), "a.jpg", problems).shape == (0, 2)
    assert problems == []


def test_a_photograph_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, :15] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    image, _ = decode_sample(RawSample("a", tmp_path / "turned.png", np.zeros((0, 2))))
    assert image.size == (20, 30)
    assert (np.asarray(image) == np.rot90(pixels, -1)).all()


def test_a_grey_image_of_sixteen_bits_keeps_its_greys(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(grey * 257).save(tmp_path / "deep.png")
    image, _ = decode_sample(RawSample("a", tmp_path / "deep.png", np.zeros((0, 2))))
    assert (np.asarray(image) == grey[:, :, None]).all()


@pytest.mark.parametrize("depth", [np.int32, np.float32])
def test_an_image_of_which_white_is_unknown_is_left_out(tmp_path: Path, depth: type) -> None:
    """Converted as they stand, greys of 32 bits are all white, and those from 0 to 1 all black."""
    Image.fromarray(np.linspace(0, 1, 64).reshape(8, 8).astype(depth)).save(tmp_path / "deep.tiff")
    with pytest.raises(UserError, match=r"has 32 bits a pixel in mode [IF], of which white is unknown"):
        decode_sample(RawSample("a", tmp_path / "deep.tiff", np.zeros((0, 2))))


@pytest.mark.parametrize("how", ["cut", "empty", "text", "bomb"])
def test_an_undecodable_image_is_left_out_and_reported(raw: Path, tmp_path: Path, monkeypatch, how: str) -> None:
    image = raw / "part_A/train_data/images/IMG_3.jpg"
    if how == "bomb":
        Image.new("RGB", (80, 60)).save(image)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48)  # the other images just fit
    else:
        image.write_bytes({"cut": image.read_bytes()[:600], "empty": b"", "text": b"<html>404</html>"}[how])
    prepared, report = run(entry(raw), tmp_path / "out")
    assert "train-IMG_3" not in {row.id for row in prepared.rows}
    assert len(prepared.images) == len(prepared.rows) == 5
    (problem,) = report["problems"]
    assert problem["file"] == str(image)
    assert problem["what"].startswith("cannot be decoded")
    assert str(image) in (tmp_path / "out/report.md").read_text()


def test_nothing_usable_is_an_error_and_leaves_no_manifest(raw: Path, tmp_path: Path) -> None:
    run(entry(raw), tmp_path / "out")
    for image in (raw / "part_A/train_data/images").iterdir():
        image.write_bytes(b"")
    with pytest.raises(UserError, match=r"here: no usable image among 6; first problem: .*IMG_1.jpg: cannot be"):
        prepare_dataset(entry(raw), "here", "Data set", tmp_path / "out")
    assert not (tmp_path / "out/manifest.parquet").exists()


def test_too_few_images_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"here.split: no image is left for train of 2 usable images"):
        prepare_dataset(entry(RAW, "B"), "here", "Data set", tmp_path)


def test_one_picture_over_and_over_is_an_error_that_says_so(raw: Path, tmp_path: Path) -> None:
    images = sorted((raw / "part_A/train_data/images").iterdir())
    for image in images[1:]:
        image.write_bytes(images[0].read_bytes())
    with pytest.raises(UserError, match=r"train and val of 6 usable images, which form 1 groups"):
        prepare_dataset(entry(raw), "here", "Data set", tmp_path)


def test_a_training_copy_of_a_test_image_is_dropped(raw: Path, tmp_path: Path) -> None:
    write_pair(raw / "part_A/test_data", "ground-truth", 1, seed=4)  # training image 4 once more
    write_pair(raw / "part_A/test_data", "ground-truth", 2, seed=8)
    prepared, report = run(entry(raw), tmp_path / "out")
    assert "train-IMG_4" not in {row.id for row in prepared.rows}
    assert [row.id for row in prepared.split("test")] == ["test-IMG_1", "test-IMG_2"]
    assert report["problems"] == [
        {
            "file": "train-IMG_4",
            "what": "is a copy of test-IMG_1 of test",
            "action": "dropped",
            "id": "copy-dropped",
            "lost": True,
        },
    ]
    assert (report["raw"]["train"]["images"], report["splits"]["all"]["images"]) == (6, 7)
    fifth = next(row for row in prepared.rows if row.id == "train-IMG_5")
    picture = Image.open(raw / "part_A/train_data/images/IMG_5.jpg")
    assert (prepared.images[fifth.number] == np.asarray(picture)).all()


def test_preprocessing_is_recorded_with_the_images(raw: Path, tmp_path: Path) -> None:
    prepared, report = run(entry(raw, longest_side=40, objects="cells"), tmp_path / "out")
    assert prepared.preprocessing == Preprocessing(40, "cells", report["notes"][0])
    assert max(max(row.height, row.width) for row in prepared.rows) == 40


def test_the_command_says_mistakes_in_one_line(tmp_path: Path) -> None:
    settings = tmp_path / "out/tiny/settings/datasets/crowd.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("source: {kind: shanghaitech, root: nowhere, part: A}\n")
    command = [sys.executable, "-m", "components.stages.prepare", "tiny", "crowd"]
    ended = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("prepare: params/tiny/study.yaml: datasets.crowd.source: root: there is no")
    assert ended.stderr.count("\n") == 1
