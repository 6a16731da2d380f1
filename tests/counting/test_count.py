"""Many pictures at once: the predictor's numbers, in order, divided by zones, with errors in their place."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
import torch
from PIL import Image

import dotfield
from components.counting.count import Job, count_pictures
from components.counting.pictures import Picture, find_pictures, unreadable
from components.counting.results import lines, write_parquet
from components.counting.zones import Ground, Zone
from components.errors import UserError
from components.runs.folder import read_weights, write_weights
from components.runs.predictor import Predictor
from tests.runs.test_predictor import saved


@pytest.mark.parametrize("workers", [1, 3])
def test_counts_are_those_of_the_predictor_to_the_bit(folder: Path, run: Path, workers: int) -> None:
    counter = dotfield.load(run)
    counts = list(count_pictures(Job(counter), find_pictures([str(folder)]), workers))
    assert [count.picture for count in counts] == [str(folder / name) for name in ("a.jpg", "b.png", "cam/c.png")]
    assert [count.count for count in counts] == [counter.count(count.picture) for count in counts]
    assert [(count.width, count.height) for count in counts] == [(60, 90), (64, 48), (130, 100)]


def test_an_error_stays_in_its_place(folder: Path, predictor: Predictor) -> None:
    pictures = [unreadable("x", "is odd"), *find_pictures([str(folder / "b.png")])]
    bad, good = count_pictures(Job(predictor), pictures)
    assert (bad.picture, bad.count, bad.error) == ("x", None, "x: is odd")
    assert good.error is None


def test_an_error_of_a_zone_names_the_picture_and_the_zone(folder: Path, predictor: Predictor) -> None:
    zone, picture = Zone("far", shapely.box(500, 500, 600, 600)), str(folder / "b.png")
    (count,) = count_pictures(Job(predictor, [zone]), find_pictures([picture]))
    assert count.error == f"{picture}: zone far lies outside of the picture of 64 x 48 px"


def test_a_partition_of_the_picture_divides_its_count(folder: Path, predictor: Predictor) -> None:
    left, right = shapely.box(0, 0, 47.3, 200), shapely.box(47.3, 0, 200, 200)
    (count,) = count_pictures(
        Job(predictor, [Zone("left", left), Zone("right", right)]), find_pictures([str(folder / "cam/c.png")])
    )
    assert sum(count.zones.values()) == pytest.approx(count.count, rel=1e-5)
    assert count.densities == {}


def test_people_per_square_metre(folder: Path, predictor: Predictor) -> None:
    ground = Ground([(10, 10), (60, 10), (60, 40), (10, 40)], (5.0, 3.0))
    (count,) = count_pictures(Job(predictor, ground=ground), find_pictures([str(folder / "b.png")]))
    assert count.densities["ground"] == pytest.approx(count.zones["ground"] / 15)


def test_no_more_pictures_are_held_than_are_counted(predictor: Predictor) -> None:
    """Of 40 pictures, those that were read and not yet given are at most two for each worker and one more."""
    read, lock = [], threading.Lock()

    def pixels() -> np.ndarray:
        with lock:
            read.append(1)
        return np.zeros((16, 16, 3), np.uint8)

    ahead = []
    for done, _ in enumerate(count_pictures(Job(predictor), (Picture(str(n), pixels) for n in range(40)), 2), 1):
        ahead.append(len(read) - done)
    assert len(read) == 40
    assert max(ahead) <= 5


def test_the_frames_of_a_stream_are_counted_as_they_come(predictor: Predictor) -> None:
    """Not when so many have come that no more may be held."""
    come = []

    def stream() -> Iterator[Picture]:
        for number in range(9):
            come.append(number)
            yield Picture(str(number), lambda: np.zeros((16, 16, 3), np.uint8))
            time.sleep(0.3)

    assert next(count_pictures(Job(predictor), stream(), 4)).picture == "0"
    assert len(come) < 9


def test_overlays_show_where_the_people_are(tmp_path: Path, predictor: Predictor, monkeypatch) -> None:
    """A density in the lower right corner colours that corner of a grey picture, and leaves the others grey."""
    density = np.zeros((12, 16), np.float32)
    density[8:, 12:] = 1.0
    monkeypatch.setattr(predictor, "density", lambda *_, **__: density)
    Image.new("RGB", (640, 480), (120, 120, 120)).save(tmp_path / "grey.png")
    predictor.longest_side = 64
    list(count_pictures(Job(predictor, overlay=tmp_path / "drawn"), find_pictures([str(tmp_path / "grey.png")])))
    (file,) = (tmp_path / "drawn").iterdir()
    drawn = np.asarray(Image.open(file)).astype(int)
    assert file.name == "000001-grey.png"
    assert drawn.shape == (480, 640, 3)
    assert np.abs(drawn[400:470, 540:630] - 120).mean() > 60
    assert np.array_equal(drawn[100:200, 400:600], np.full((100, 200, 3), 120))


@pytest.mark.parametrize("size", [(1, 1), (3, 5000), (5000, 3)])
def test_a_picture_of_odd_shape_is_drawn_too(tmp_path: Path, predictor: Predictor, size: tuple[int, int]) -> None:
    name = "odd" * 90  # longer than a file's name may be
    picture = Picture(f"{name}.png", lambda: np.zeros((*size, 3), np.uint8))
    (count,) = count_pictures(Job(predictor, overlay=tmp_path), [picture])
    assert count.error is None
    with Image.open(next(tmp_path.glob("000001-oddodd*.png"))) as drawn:
        assert min(drawn.size) > 50


def test_a_counter_with_damaged_weights_does_not_count(tmp_path: Path, folder: Path, typed) -> None:
    run = saved(tmp_path)
    weights = read_weights(run.best)
    damaged = {name: torch.full_like(tensor, torch.nan) for name, tensor in weights.tensors.items()}
    write_weights(run.best, damaged, weights.metadata)
    with pytest.raises(UserError, match="holds numbers that are NaN or infinite"):
        dotfield.load(run.folder)
    assert typed("count", folder, "--counter", run.folder)[:2] == (2, "")


def test_names_are_shown_without_moving_the_cursor_and_stay_text(tmp_path: Path, predictor: Predictor) -> None:
    for name in (b"line\nbreak.png", b"\xff\xfe.png", b"red\x1b[31m.png"):
        Image.new("RGB", (40, 40)).save(tmp_path / os.fsdecode(name), "PNG")
    counts = list(count_pictures(Job(predictor), find_pictures([str(tmp_path)])))
    shown = {line.rpartition("/")[2] for line in lines("text", counts, {}, [], False)}
    assert shown == {"\\xff\\xfe.png", "line\\nbreak.png", "red\\x1b[31m.png"}
    write_parquet(tmp_path / "counts.parquet", counts, {}, [], False)


def test_the_precision_is_said_with_the_counts(folder: Path, run: Path, typed) -> None:
    for words, precision in (((), "fp32"), (("--bf16",), "bf16")):
        code, out, _ = typed("count", folder / "b.png", "--counter", run, "--json", *words)
        assert (code, json.loads(out)["provenance"]["precision"]) == (0, precision)


def test_outputs_that_cannot_be_written_are_refused_before_counting(tmp_path: Path, folder: Path, typed) -> None:
    (tmp_path / "file").touch()
    for option in (("--parquet", tmp_path / "none/counts.parquet"), ("--overlay", tmp_path / "file")):
        code, out, error = typed("count", folder, *option)
        assert (code, out) == (2, "")
        assert str(option[1]) in error
