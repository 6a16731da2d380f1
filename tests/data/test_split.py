"""Copies of a picture are found and stay on one side of the split, which is the same for a seed."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.config.study import Split
from components.data.duplicates import ImageSignature, group_duplicates, image_signature
from components.data.manifest import Prepared
from components.data.split import assign_splits
from components.datasets.synthetic import Params, scene
from tests.stages.test_prepare import entry, run


def shifted(pixels: np.ndarray) -> np.ndarray:
    """The same picture, a little brighter, saved badly and scaled."""
    image = Image.fromarray(np.clip(pixels.astype(int) + 6, 0, 255).astype(np.uint8))
    return np.asarray(image.resize((200, 150), Image.Resampling.BILINEAR))


def test_copies_share_a_group_and_others_do_not() -> None:
    pictures = [scene(Params(height=192, width=256), number)[0] for number in range(12)]
    signatures = [image_signature(picture) for picture in [*pictures, shifted(pictures[7]), shifted(pictures[2])]]
    assert group_duplicates(signatures).tolist() == [*range(12), 7, 2]


def test_flat_images_of_different_grey_are_not_copies() -> None:
    signatures = [image_signature(np.full((40, 50, 3), grey, np.uint8)) for grey in (10, 128, 250, 128)]
    assert group_duplicates(signatures).tolist() == [0, 1, 2, 1]


def test_a_copy_of_a_copy_belongs_to_the_group() -> None:
    hashes = np.zeros((4, 256), bool)
    hashes[1, :20] = hashes[2, :40] = True  # 0-1 and 1-2 are close, 0-2 are not
    hashes[3, ::2] = True
    signatures = [ImageSignature(bits, np.zeros(1024, np.uint8)) for bits in hashes]
    assert group_duplicates(signatures).tolist() == [0, 0, 0, 1]


def test_a_single_image_is_its_own_group() -> None:
    assert group_duplicates([image_signature(np.zeros((40, 50, 3), np.uint8))]).tolist() == [0]


@pytest.mark.parametrize("seed", range(5))
def test_copies_stay_on_one_side_and_shares_are_kept(seed: int) -> None:
    ids, groups = [f"i{number}" for number in range(60)], [number // 2 for number in range(60)]
    splits = assign_splits(ids, [None] * 60, groups, Split(val=0.2, test=0.3, seed=seed), "here")
    assert [splits.count(name) for name in ("train", "val", "test")] == [30, 12, 18]
    assert all(splits[2 * pair] == splits[2 * pair + 1] for pair in range(30))


def test_another_seed_gives_another_split_and_the_same_seed_the_same() -> None:
    ids, groups = [f"i{number}" for number in range(60)], list(range(60))
    first, again, other = (assign_splits(ids, [None] * 60, groups, Split(seed=seed), "here") for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_images_added_later_hardly_move_the_others() -> None:
    ids = [f"i{number}" for number in range(110)]
    before = assign_splits(ids[:100], [None] * 100, list(range(100)), Split(), "here")
    after = assign_splits(ids, [None] * 110, list(range(110)), Split(), "here")
    assert sum(a != b for a, b in zip(before, after, strict=False)) <= 10


@pytest.fixture(scope="module")
def part_a(real: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, dict]:
    return run(entry(real / "shanghaitech", longest_side=256), tmp_path_factory.mktemp("part_a"))


@pytest.mark.real
def test_the_two_pairs_of_copies_of_part_a_are_found_and_no_others(part_a: tuple[Prepared, dict]) -> None:
    _, report = part_a
    found = [row for row in report["problems"] if "is a copy of" in row["what"]]
    pairs = {(row["file"], row["what"].split()[4]) for row in found}
    assert pairs == {("train-IMG_283", "train-IMG_118"), ("train-IMG_169", "train-IMG_167")}


@pytest.mark.real
def test_part_a_loses_no_image_and_no_dot(part_a: tuple[Prepared, dict]) -> None:
    prepared, report = part_a
    assert len(prepared.rows) == 300
    assert sum(len(row.dots) for row in prepared.rows) == report["splits"]["all"]["dots"] == 162_413
    assert all(max(row.height, row.width) <= 256 for row in prepared.rows)
    assert all((row.dots <= (row.width, row.height)).all() for row in prepared.rows)


@pytest.mark.real
def test_coinciding_dots_of_part_a_are_counted(part_a: tuple[Prepared, dict]) -> None:
    _, report = part_a
    shared = [row["what"] for row in report["problems"] if row["what"].endswith("in the same place as another")]
    assert sum(int(what.split()[0]) for what in shared) == 63


@pytest.fixture(scope="module")
def part_b(real: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, dict]:
    return run(entry(real / "shanghaitech", "B", longest_side=256), tmp_path_factory.mktemp("part_b"))


def distances(prepared: Prepared) -> dict[bool, list[int]]:
    """Bits in which hashes differ, for pairs of copies (True) and for all other pairs (False)."""
    groups = pq.read_table(prepared.folder / "manifest.parquet")["group"].to_pylist()
    bits = [image_signature(prepared.images[row.number]).bits for row in prepared.rows]
    found: dict[bool, list[int]] = {True: [], False: []}
    for i, j in combinations(range(len(bits)), 2):
        found[groups[i] == groups[j]].append(int((bits[i] != bits[j]).sum()))
    return found


@pytest.mark.real
def test_copies_and_other_pairs_are_far_apart(part_a: tuple[Prepared, dict], part_b: tuple[Prepared, dict]) -> None:
    first, second = distances(part_a[0]), distances(part_b[0])
    assert (len(first[True]), len(second[True])) == (2, 0)
    assert max(first[True]) <= 16
    assert min(first[False] + second[False]) > 60


@pytest.mark.real
def test_street_scenes_of_part_b_are_not_taken_for_copies(part_b: tuple[Prepared, dict]) -> None:
    prepared, report = part_b
    groups = pq.read_table(prepared.folder / "manifest.parquet")["group"].to_pylist()
    assert len(set(groups)) == len(prepared.rows) == 716
    assert report["splits"]["all"]["dots"] == 49_151 + 39_121
