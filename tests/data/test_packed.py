"""Packs: arrays of any shape come back as they went in, and an interrupted pack is no pack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.data.packed import Pack, PackWriter
from components.errors import UserError

SHAPES = [(3, 4), (0, 5), (7, 1), (2, 2)]


def test_arrays_come_back_as_they_went_in(tmp_path: Path) -> None:
    arrays = [np.random.default_rng(number).random(shape).astype(np.float32) for number, shape in enumerate(SHAPES)]
    with PackWriter(tmp_path / "pack", np.float32) as pack:
        for array in arrays:
            pack.append(array)
    read = Pack(tmp_path / "pack")
    assert len(read) == len(arrays)
    for number, array in enumerate(arrays):
        np.testing.assert_array_equal(read[number], array)
    flat = np.load(tmp_path / "pack" / "data.npy")  # any tool that reads .npy reads it
    np.testing.assert_array_equal(flat, np.concatenate([array.ravel() for array in arrays]))


def test_reading_maps_the_file(tmp_path: Path) -> None:
    with PackWriter(tmp_path / "pack", np.uint8) as pack:
        pack.append(np.ones((4, 4), np.uint8))
    array = Pack(tmp_path / "pack")[0]
    assert isinstance(array, np.memmap)
    assert not array.flags.writeable


def test_a_pack_that_was_interrupted_has_no_index(tmp_path: Path) -> None:
    def interrupted() -> None:
        with PackWriter(tmp_path / "pack", np.uint8) as pack:
            pack.append(np.ones((4, 4), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not (tmp_path / "pack" / "index.npy").exists()
    with pytest.raises(UserError, match=r"pack: is not whole .*index\.npy"):
        Pack(tmp_path / "pack")


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    def full() -> None:
        with PackWriter(tmp_path / "pack", np.uint8) as pack:
            pack._file = Path("/dev/full").open("wb")  # noqa: SIM115 - fails as a full disk does
            pack.append(np.ones((400, 400), np.uint8))

    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/pack'"):
        full()


def test_a_pack_that_is_written_again_and_interrupted_is_no_pack(tmp_path: Path) -> None:
    with PackWriter(tmp_path / "pack", np.uint8) as pack:
        pack.append(np.ones((4, 4), np.uint8))
    with PackWriter(tmp_path / "pack", np.uint8):
        assert not (tmp_path / "pack" / "index.npy").exists()
