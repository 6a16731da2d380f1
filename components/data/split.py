"""Which image is for training, for validation and for the test. Copies of one picture stay in one split.

Published test and validation splits are kept. A training image that also stands in one of them is dropped, so that the
counter is not trained on a test image; so is a validation image that also stands in the test split. A split that is not
published is a share of the training images: groups of copies are taken in the order of a hash of the seed and an id, so
that adding images hardly moves the others."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from components.config.study import Split
from components.crowd import SPLITS, Problem
from components.errors import UserError

DROPPED = "dropped"


def assign_splits(
    ids: list[str], published: list[str | None], groups: list[int], shares: Split, where: str
) -> list[str]:
    """A split, or "dropped", for every image. Raises UserError when a split stays empty."""
    splits = published_splits(published, groups)
    open_groups = _in_order(ids, groups, splits, shares.seed)
    available = splits.count("train")
    for split, share in _to_cut(published, shares).items():
        for group in _first(open_groups, max(1, round(share * available))):
            for index in open_groups.pop(group):
                splits[index] = split
    _none_empty(splits, len(groups) - len(set(groups)), where)
    return splits


def published_splits(published: list[str | None], groups: list[int]) -> list[str]:
    """What the published splits settle: "train" is what may still be cut, and copies of held-out images are dropped."""
    pairs = list(zip(published, groups, strict=True))
    held_out = {split: {group for own, group in pairs if own == split} for split in ("test", "val")}
    return [_settled(own, group in held_out["test"], group in held_out["val"]) for own, group in pairs]


def describe_splits(published: list[str | None], shares: Split) -> str:
    """One sentence for the report: whose splits these are."""
    if {"test", "val"} <= {*published}:
        return "All splits are the published ones."
    if "test" in published:
        cut = f"validation is {shares.val:g} of the training half"
        return f"The test split is the published test half; {cut}, drawn by seed {shares.seed}."
    if "val" in published:
        cut = f"test is {shares.test:g} of the training half"
        return f"The validation split is the published one; {cut}, drawn by seed {shares.seed}."
    why = "only a training half was found" if "train" in published else "it has no published splits"
    cut = f"test is {shares.test:g} and validation {shares.val:g} of the images"
    return f"The splits of this data set are ours ({why}): {cut}, drawn by seed {shares.seed}."


def duplicate_problems(ids: list[str], groups: list[int], splits: list[str]) -> list[Problem]:
    """A problem for every image that is a copy: of a test image, or else of the first image of its group."""
    found = []
    for members in _by_group(groups, range(len(ids))).values():
        first = min(members, key=lambda index: (splits[index] == DROPPED, index))
        for index in members:
            if index != first:
                action = "dropped" if splits[index] == DROPPED else f"kept beside it, in {splits[index]}"
                found.append(Problem(ids[index], f"is a copy of {ids[first]} of {splits[first]}", action))
    return found


def _by_group(groups: list[int], indices: Iterable[int]) -> dict[int, list[int]]:
    members: dict[int, list[int]] = {}
    for index in indices:
        members.setdefault(groups[index], []).append(index)
    return members


def _settled(published: str | None, in_test: bool, in_val: bool) -> str:
    if published == "test":
        return "test"
    if published == "val" and not in_test:
        return "val"
    return DROPPED if in_test or in_val else "train"


def _to_cut(published: list[str | None], shares: Split) -> dict[str, float]:
    """The shares of the splits that are not published."""
    return {split: share for split, share in (("test", shares.test), ("val", shares.val)) if split not in published}


def _in_order(ids: list[str], groups: list[int], splits: list[str], seed: int) -> dict[int, list[int]]:
    """Groups -> their images' indices, for training images, in an order that depends on seed and ids alone."""
    members = _by_group(groups, [index for index, split in enumerate(splits) if split == "train"])
    rank = {group: sha256(f"{seed}/{ids[indices[0]]}".encode()).digest() for group, indices in members.items()}
    return {group: members[group] for group in sorted(members, key=rank.__getitem__)}


def _first(members: dict[int, list[int]], number: int) -> list[int]:
    """The first groups that hold at least `number` images together, or all of them."""
    taken, images = [], 0
    for group, indices in members.items():
        if images >= number:
            break
        taken.append(group)
        images += len(indices)
    return taken


def _none_empty(splits: list[str], copies: int, where: str) -> None:
    empty = [split for split in SPLITS if split not in splits]
    if empty:
        raise UserError(
            f"{where}: no image is left for {' and '.join(empty)} of {len(splits)} usable images, "
            f"{copies} of them copies of others; give more images or smaller shares in `split`"
        )
