"""Counting with a run's weights file alone: the numbers of its model, on pictures preprocessed as it was trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dotfield
from components.config import plugins
from components.crowd import block_sum, cell_count
from components.data.manifest import Prepared
from components.errors import UserError
from components.runs.folder import describe_run, read_weights, save_run, write_weights
from components.runs.predictor import RELEASED, load_predictor, resample
from components.training.assemble import assemble, load_run
from components.workspace.layout import RunPaths
from tests import crowds


def saved(folder: Path, longest_side: int | None = None, loss: dict | None = None, **counter: object) -> RunPaths:
    """An untrained run, which counts something all the same."""
    plan = crowds.plan(counter={"kind": "mcnn"} | counter, loss=loss)
    model = assemble(plan, seed=3)
    weights = model.state_dict()
    best = {"epoch": 1, "val_mae": 2.5, "model": weights}
    history = [{"epoch": 1, "seconds": 1.0, "loss": 1.0, "val_mae": 2.5}]
    state = {"epoch": 1, "history": history, "best": best, "model": weights, "scale": model.scale}
    prepared, _ = crowds.write(folder, [(48, 64)] * 3, ["train", "val", "test"])
    record = describe_run(plan, 3, state | {"stride": model.stride}, Prepared(prepared))
    record["preprocessing"]["longest_side"] = longest_side
    save_run(RunPaths(folder / "seed-3"), record, state)
    return RunPaths(folder / "seed-3")


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", plugins.kinds("loss"))
def test_it_counts_bit_for_bit_what_the_model_counts(tmp_path: Path, pixels: np.ndarray, kind: str) -> None:
    """Whatever the loss makes of the counter's outputs."""
    run = saved(tmp_path, loss={"kind": kind})
    model = load_run(run).model
    expected = model.predict(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None])[0, 0].numpy()
    predictor = dotfield.load(run.folder)
    assert expected.shape == (13, 18)
    assert np.array_equal(predictor.density(pixels), expected)
    assert predictor.count(pixels) == expected.sum(dtype=np.float64)
    assert dotfield.load(run.best).count(pixels) == predictor.count(pixels)


def test_a_file_counts_as_its_pixels_do(tmp_path: Path, pixels: np.ndarray) -> None:
    predictor = load_predictor(saved(tmp_path).folder)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    assert predictor.count(tmp_path / "photo.png") == predictor.count(str(tmp_path / "photo.png"))
    assert predictor.count(tmp_path / "photo.png") == predictor.count(pixels)


def test_a_picture_is_scaled_down_as_the_training_images_were(tmp_path: Path) -> None:
    """A model that was trained at 160 px counted full-size pictures six times too high."""
    large = Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 140, 3), dtype=np.uint8))
    large.save(tmp_path / "large.png")
    small = np.asarray(large.resize((70, 48), Image.Resampling.LANCZOS))
    predictor = load_predictor(saved(tmp_path, longest_side=70).folder)
    assert predictor.density(tmp_path / "large.png").shape == (12, 18)
    assert predictor.count(tmp_path / "large.png") == predictor.count(small)
    assert predictor.count(np.asarray(large)) == predictor.count(small)


def test_a_picture_is_turned_as_its_exif_orientation_says(tmp_path: Path, pixels: np.ndarray) -> None:
    turned = Image.fromarray(np.rot90(pixels).copy())
    exif = Image.Exif()
    exif[0x0112] = 6  # the viewer turns it clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    predictor = load_predictor(saved(tmp_path).folder)
    assert predictor.count(tmp_path / "turned.png") == predictor.count(pixels)


def test_the_metadata_says_what_is_needed_to_count(tmp_path: Path) -> None:
    metadata = load_predictor(saved(tmp_path, final_relu=True).folder).metadata
    assert metadata["counter"]["kind"] == "mcnn"
    assert metadata["counter"]["final_relu"] is True
    assert (metadata["stride"], metadata["scale"], metadata["objects"]) == (4, 40.0, "people")
    assert metadata["preprocessing"] == {
        "longest_side": None,
        "orientation": "as EXIF says",
        "pixels": "RGB, 8 bits",
    }
    assert metadata["validation"] == {"mae": 2.5, "images": 1, "best_epoch": 1}


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("none")
    with pytest.raises(UserError, match=r"cannot be decoded"):
        load_predictor(saved(tmp_path).folder).count(tmp_path / "notes.jpg")


def test_weights_of_a_counter_that_has_changed_since_are_named(tmp_path: Path) -> None:
    run = saved(tmp_path)
    run.best.write_bytes(run.best.read_bytes().replace(b"counter.fuse.bias", b"counter.fuse.bogus"))
    with pytest.raises(UserError, match=r"does not fit the counter mcnn of this version|is damaged"):
        load_predictor(run.folder)


def test_weights_without_what_is_needed_to_count_are_named(tmp_path: Path) -> None:
    run = saved(tmp_path)
    weights = read_weights(run.best)
    for metadata, said in (
        (weights.metadata | {"format": "new"}, "its format is 'new'"),
        ({"format": 1, "counter": {"kind": "mcnn"}}, "its metadata lack loss, scale, stride"),
        (weights.metadata | {"scale": 0}, "its scale is 0"),
        (weights.metadata | {"preprocessing": {"longest_side": -5}}, "its longest_side is -5"),
        (weights.metadata | {"preprocessing": None}, "its preprocessing is None"),
        (weights.metadata | {"counter": "mcnn"}, "its counter is 'mcnn'"),
        (weights.metadata | {"loss": {}}, "its loss is {}"),
        (weights.metadata | {"stride": 8}, "its stride is 8, and that of its counter 4"),
    ):
        write_weights(run.best, weights.tensors, metadata)
        with pytest.raises(UserError, match=rf"is damaged or not one of dotfield's \({said}"):
            load_predictor(run.folder)


@pytest.mark.parametrize("width", [64, 70])
def test_a_mirror_image_is_predicted_on_the_same_cells(tmp_path: Path, width: int) -> None:
    """The mean of two predictions, of which the second is that of the mirror image, turned back."""
    image = np.random.default_rng(1).integers(0, 255, (48, width, 3), dtype=np.uint8)
    predictor = load_predictor(saved(tmp_path).folder)
    padded = np.pad(image, [(0, 0), (0, -width % 4), (0, 0)], mode="edge")
    expected = (predictor.density(image) + predictor.density(padded[:, ::-1])[:, ::-1]) / 2
    np.testing.assert_allclose(predictor.density(image, flip=True), expected, rtol=1e-6)
    assert predictor.count(image, flip=True) == pytest.approx(expected.sum(), rel=1e-5)


def test_scales_are_averaged_on_the_grid_of_the_image_as_it_is(tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 255, (48, 72, 3), dtype=np.uint8)
    predictor = load_predictor(saved(tmp_path).folder)
    larger = np.asarray(Image.fromarray(image).resize((108, 72), Image.Resampling.BILINEAR))
    density = predictor.density(image, scales=(1, 1.5))
    assert density.shape == predictor.density(image).shape
    assert density.sum() == pytest.approx((predictor.count(image) + predictor.count(larger)) / 2, rel=1e-4)
    assert np.array_equal(predictor.density(image, scales=(1.0,)), predictor.density(image))


@pytest.mark.parametrize(("size", "target"), [((96, 128), (48, 64)), ((31, 50), (48, 64)), ((70, 9), (31, 50))])
def test_a_resampled_map_keeps_its_people_and_their_places(size: tuple[int, int], target: tuple[int, int]) -> None:
    density = np.random.default_rng(2).random((cell_count(size[0], 4), cell_count(size[1], 4)))
    moved = resample(density, size, target, 4)
    assert moved.shape == (cell_count(target[0], 4), cell_count(target[1], 4))
    assert moved.sum() == pytest.approx(density.sum(), rel=1e-6)
    if size == (96, 128):  # a cell of the target is a block of 2 x 2
        np.testing.assert_allclose(moved, block_sum(density, 2), rtol=1e-6)


@pytest.mark.parametrize(
    ("counter", "tile", "margin", "size"),
    [
        ({"kind": "mcnn"}, 64, 64, (150, 201)),
        ({"kind": "efficientnet_lite", "weights": "random"}, 128, 416, (40, 1100)),
    ],
)
def test_a_large_image_is_counted_in_tiles_to_the_same_numbers(
    tmp_path: Path, monkeypatch, counter: dict, tile: int, margin: int, size: tuple[int, int]
) -> None:
    """Beside the image as a whole: a cell that sees no further than the margin is the same to rounding."""
    predictor = load_predictor(saved(tmp_path, **counter).folder)
    pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    whole = predictor.density(pixels)
    monkeypatch.setattr("components.runs.predictor.TILE", tile)
    monkeypatch.setattr("components.runs.predictor.MARGIN", margin)
    monkeypatch.setattr("components.runs.predictor.WHOLE", tile)
    tiles = predictor.density(pixels)
    assert tiles.shape == whole.shape
    np.testing.assert_allclose(tiles, whole, rtol=1e-4, atol=1e-6)


def test_the_longest_side_may_be_set(tmp_path: Path, pixels: np.ndarray) -> None:
    predictor = load_predictor(saved(tmp_path, longest_side=20).folder)
    assert predictor.density(pixels).shape == (4, 5)
    assert predictor.cell_size((70, 50)) == (4 * 70 / 20, 4 * 50 / 14)
    predictor.longest_side = None
    assert predictor.density(pixels).shape == (13, 18)
    assert predictor.cell_size((70, 50)) == (4, 4)


def test_the_number_of_threads_does_not_change_a_count(tmp_path: Path) -> None:
    predictor = load_predictor(saved(tmp_path, kind="efficientnet_lite", weights="random").folder)
    pixels, counts = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8), []
    for threads in (1, 4):
        torch.set_num_threads(threads)
        counts.append(predictor.density(pixels))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
    assert np.array_equal(*counts)


def test_bf16_rounds_a_count(tmp_path: Path, pixels: np.ndarray) -> None:
    predictor = load_predictor(saved(tmp_path).folder)
    exact = predictor.density(pixels)
    predictor.bf16 = True
    rounded = predictor.density(pixels)
    assert rounded.dtype == np.float32
    assert not np.array_equal(rounded, exact)
    assert rounded.sum() == pytest.approx(exact.sum(), rel=0.02)


def test_the_released_counter_is_small_and_its_card_is_of_this_file() -> None:
    card = RELEASED.with_name(f"{RELEASED.name}.md").read_text()
    assert RELEASED.stat().st_size <= 6e6
    assert hashlib.sha256(RELEASED.read_bytes()).hexdigest() in card


@pytest.mark.real
def test_the_released_counter_counts(real: Path) -> None:
    """Photographs of its training half, of very different crowds."""
    counter, images = dotfield.load(), real / "shanghaitech/part_B/train_data/images"
    people = {"IMG_1": 233, "IMG_2": 152, "IMG_3": 29, "IMG_4": 291}
    for name, number in people.items():
        assert counter.count(images / f"{name}.jpg") == pytest.approx(number, rel=0.3), name
