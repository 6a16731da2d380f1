"""Copies of a picture are found and stay on one side of the split, which is the same for a seed."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.config import plugins
from components.config.options import check
from components.config.study import Split
from components.data.duplicates import ImageSignature, find_copies, group_linked, image_signature
from components.data.manifest import Prepared
from components.data.split import assign_splits, copy_problems, describe_splits, group_images, published_splits
from components.datasets.synthetic import Params, scene
from components.errors import UserError
from tests.raw.make import write_truth
from tests.stages.test_prepare import entry, run


def shifted(pixels: np.ndarray) -> np.ndarray:
    """The same picture, a little brighter, saved badly and scaled."""
    image = Image.fromarray(np.clip(pixels.astype(int) + 6, 0, 255).astype(np.uint8))
    return np.asarray(image.resize((200, 150), Image.Resampling.BILINEAR))


def test_copies_are_found_and_others_are_not() -> None:
    pictures = [scene(Params(height=192, width=256), number)[0] for number in range(12)]
    signatures = [image_signature(picture) for picture in [*pictures, shifted(pictures[7]), shifted(pictures[2])]]
    assert find_copies(signatures) == [(2, 13), (7, 12)]


def test_flat_images_of_different_grey_are_not_copies() -> None:
    signatures = [image_signature(np.full((40, 50, 3), grey, np.uint8)) for grey in (10, 128, 250, 128)]
    assert find_copies(signatures) == [(1, 3)]


def test_a_copy_of_a_copy_is_no_direct_match_but_belongs_to_the_group() -> None:
    hashes = np.zeros((4, 256), bool)
    hashes[1, :14] = hashes[2, :28] = True  # 0-1 and 1-2 are close, 0-2 are not
    hashes[3, ::2] = True
    copies = find_copies([ImageSignature(bits, np.zeros((64, 64), np.uint8)) for bits in hashes])
    assert copies == [(0, 1), (1, 2)]
    assert group_linked(4, copies) == [0, 0, 0, 1]


def test_no_or_one_image_has_no_copies() -> None:
    assert find_copies([]) == []
    assert find_copies([image_signature(np.zeros((40, 50, 3), np.uint8))]) == []
    assert group_linked(1, []) == [0]


def fixed_camera(number: int, people: int) -> np.ndarray:
    """What a fixed camera sees: always the same street, with a few people elsewhere each time."""
    blocks = np.random.default_rng(99).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    street = np.array(Image.fromarray(blocks).resize((320, 240), Image.Resampling.BICUBIC))
    for x, y in np.random.default_rng(number).integers(0, (305, 210), (people, 2)):
        street[y : y + 24, x : x + 9] = 250
    return street


def test_moments_of_a_fixed_camera_are_no_copies_though_their_hashes_are_close() -> None:
    moments = [image_signature(fixed_camera(number, 2)) for number in range(6)]
    bits = [int((a.bits != b.bits).sum()) for a, b in combinations(moments, 2)]
    assert min(bits) <= 16
    assert find_copies(moments) == []
    again = image_signature(shifted(fixed_camera(3, 2)))
    assert find_copies([*moments, again]) == [(3, 6)]


def test_a_fixed_camera_loses_no_image_and_the_split_does_not_depend_on_longest_side(tmp_path: Path) -> None:
    for number in range(10):
        half = "train" if number < 7 else "test"
        folder = tmp_path / f"raw/part_A/{half}_data"
        write_truth_of(folder, number)
        Image.fromarray(fixed_camera(number, 2)).save(folder / f"images/IMG_{number}.jpg", quality=90)
    split = {"val": 0.3, "seed": 1}
    made = [run(entry(tmp_path / "raw", longest_side=side, split=split), tmp_path / str(side)) for side in (None, 40)]
    rows = [[(row.id, row.split) for row in prepared.rows] for prepared, _ in made]
    assert len(rows[0]) == 10
    assert rows[0] == rows[1]
    assert [report["problems"] for _, report in made] == [[], []]


def write_truth_of(folder: Path, number: int) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "ground-truth").mkdir(exist_ok=True)
    write_truth(folder / f"ground-truth/GT_IMG_{number}.mat", np.array([[30.0, 20.0], [100.0, 50.0]]))


@pytest.mark.parametrize("seed", range(5))
def test_copies_stay_on_one_side_and_shares_are_kept(seed: int) -> None:
    ids, groups = [f"i{number}" for number in range(60)], [number // 2 for number in range(60)]
    splits = assign_splits(ids, [None] * 60, [], groups, Split(val=0.2, test=0.3, seed=seed), "here")
    assert [splits.count(name) for name in ("train", "val", "test")] == [30, 12, 18]
    assert all(splits[2 * pair] == splits[2 * pair + 1] for pair in range(30))


def test_another_seed_gives_another_split_and_the_same_seed_the_same() -> None:
    ids, groups = [f"i{number}" for number in range(60)], list(range(60))
    first, again, other = (assign_splits(ids, [None] * 60, [], groups, Split(seed=seed), "here") for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_images_added_later_hardly_move_the_others() -> None:
    ids = [f"i{number}" for number in range(110)]
    before = assign_splits(ids[:100], [None] * 100, [], list(range(100)), Split(), "here")
    after = assign_splits(ids, [None] * 110, [], list(range(110)), Split(), "here")
    assert sum(a != b for a, b in zip(before, after, strict=False)) <= 10


def test_published_halves_stay_and_only_the_others_are_cut() -> None:
    halves = ["train"] * 20 + ["val"] * 3 + ["test"] * 2
    ids, groups = [f"i{number}" for number in range(25)], list(range(25))
    assert assign_splits(ids, halves, [], groups, Split(), "here") == halves
    without_test = assign_splits(ids[:23], halves[:23], [], groups[:23], Split(test=0.2), "here")
    assert [without_test.count(split) for split in ("train", "val", "test")] == [16, 3, 4]


def test_it_is_said_whose_the_splits_are() -> None:
    published, folds = plugins.split_origin("shanghaitech"), plugins.split_origin("ucf_cc_50")
    assert describe_splits(["train", "val", "test"], Split(), published) == "All splits are the published ones."
    said = describe_splits(["train", "val"], Split(), published)
    assert said.startswith("The validation split is the published one; test is 0.2 ")
    said = describe_splits(["train", "test"], Split(val=0.1), folds)
    assert "published test half" not in said
    assert said.endswith("drawn by seed 0. Its folds are ours: which images form a fold was never published.")
    assert plugins.split_origin("points").whose == "given"


HALVES = ["train", "train", "train", "val", "val", "test"]


def test_a_copy_of_a_held_out_image_is_dropped_and_the_test_half_wins() -> None:
    copies = [(1, 3), (2, 4), (2, 5), (4, 5)]
    splits = published_splits(HALVES, copies, Split())
    assert splits == ["train", "dropped", "dropped", "val", "dropped", "test"]
    said = copy_problems(list("abcdef"), HALVES, copies, splits)
    assert [(each.file, each.what, each.id) for each in said] == [
        ("b", "is a copy of d of val", "copy-dropped"),
        ("c", "is a copy of f of test", "copy-dropped"),
        ("e", "is a copy of f of test", "copy-dropped"),
    ]


def test_a_copy_of_a_copy_of_a_test_image_stays_and_says_which_image_it_matches() -> None:
    halves, copies = ["train", "train", "test"], [(0, 1), (1, 2)]
    splits = published_splits(halves, copies, Split())
    assert splits == ["train", "dropped", "test"]
    assert [each.file for each in copy_problems(list("abc"), halves, copies, splits)] == ["b"]


def test_published_halves_may_be_kept_as_they_are() -> None:
    copies = [(1, 3), (2, 5)]
    splits = published_splits(HALVES, copies, Split(copies="keep"))
    assert splits == HALVES
    said = copy_problems(list("abcdef"), HALVES, copies, splits)
    assert [(each.file, each.what, each.action, each.lost) for each in said] == [
        ("b", "is a copy of d of val", "kept beside it, in train", False),
        ("c", "is a copy of f of test", "kept beside it, in train", False),
    ]


def test_images_of_one_camera_stay_on_one_side() -> None:
    ids = [f"cam{number % 6}_{number:04}.jpg" for number in range(60)]
    groups = group_images(ids, [""] * 60, [], r"(cam\d)_", "here")
    assert groups == [number % 6 for number in range(60)]
    splits = assign_splits(ids, [None] * 60, [], groups, Split(), "here")
    assert [splits.count(split) for split in ("train", "val", "test")] == [20, 20, 20]
    assert len({(id[:4], split) for id, split in zip(ids, splits, strict=True)}) == 6


def test_copies_join_groups_and_scenes_can_be_groups() -> None:
    assert group_images(list("abcd"), ["x", "y", "y", "z"], [], "scene", "here") == [0, 1, 1, 2]
    assert group_images(list("abcd"), ["x", "y", "y", "z"], [(0, 2)], "scene", "here") == [0, 0, 0, 1]


def test_a_group_that_does_not_fit_is_a_mistake_that_says_why() -> None:
    with pytest.raises(UserError, match=r"here.group: '\(cam.\)' is not found in the id 'b'"):
        group_images(["cam1", "b"], ["", ""], [], "(cam.)", "here")
    for group, said in (("cam", "must be 'scene', or have a group in parentheses"), ("(", "is not a regular expr")):
        with pytest.raises(UserError, match=f"here: group: '{re.escape(group)}' {said}"):
            check(Split, {"group": group}, "here")


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
