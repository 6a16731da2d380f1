"""Which image is for training, for validation and for the test.

Published test and validation splits are kept. A training image of which one of them has a copy is dropped, so that the
counter is not trained on a test image; so is a validation image of which the test split has one. Only a direct match
counts (`duplicates.py`), and `copies: keep` leaves the published halves as they are.

A split that is not published is a share of the training images. What belongs together stays on one side of it: copies
of one picture, also a copy of a copy; and what `group` names, such as the pictures of one camera. Groups are taken in
the order of a hash of the seed and an id, so that adding images hardly moves the others."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from itertools import pairwise

from components.config.plugins import SplitOrigin
from components.config.study import SCENE, Split
from components.crowd import SPLITS, Problem
from components.data.duplicates import Pairs, group_linked
from components.errors import UserError

DROPPED = "dropped"


def assign_splits(
    ids: list[str], published: list[str | None], copies: Pairs, groups: list[int], options: Split, where: str
) -> list[str]:
    """A split, or "dropped", for every image. Raises UserError when a split stays empty."""
    splits = published_splits(published, copies, options)
    open_groups = _in_order(ids, groups, splits, options.seed)
    available = splits.count("train")
    for split, share in _to_cut(published, options).items():
        for group in _first(open_groups, max(1, round(share * available))):
            for index in open_groups.pop(group):
                splits[index] = split
    _none_empty(splits, len(set(groups)), where)
    return splits


def published_splits(published: list[str | None], copies: Pairs, options: Split) -> list[str]:
    """What the published splits settle: "train" is what may still be cut, and copies of held-out images are dropped."""
    splits = [half or "train" for half in published]
    if options.copies == "keep":
        return splits
    matched = _neighbours(copies)
    return [DROPPED if _held_out(index, published, matched) else split for index, split in enumerate(splits)]


def group_images(ids: list[str], scenes: list[str], copies: Pairs, group: str | None, where: str) -> list[int]:
    """A number for each image, the same for those that stay on one side of our own cuts: copies, and what `group`
    names. Raises UserError: the regular expression is not found in an id."""
    if group is None:
        return group_linked(len(ids), copies)
    names = scenes if group == SCENE else [_group_name(group, id, where) for id in ids]
    members: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        members.setdefault(name, []).append(index)
    return group_linked(len(ids), copies + [pair for indices in members.values() for pair in pairwise(indices)])


def describe_splits(published: list[str | None], options: Split, origin: SplitOrigin) -> str:
    """A sentence or two for the report: whose splits these are. `origin` is that of splits that the data set has."""
    drawn = f"drawn by seed {options.seed}" + (f" in groups by `{options.group}`" if options.group else "")
    note = f" {origin.note}" if origin.note else ""
    if {"test", "val"} <= {*published}:
        return f"All splits are the {origin.whose} ones.{note}"
    if "test" in published:
        cut = f"validation is {options.val:g} of the training half"
        return f"The test split is the {origin.whose} test half; {cut}, {drawn}.{note}"
    if "val" in published:
        cut = f"test is {options.test:g} of the training half"
        return f"The validation split is the {origin.whose} one; {cut}, {drawn}.{note}"
    why = "only a training half was found" if "train" in published else "it has no published splits"
    cut = f"test is {options.test:g} and validation {options.val:g} of the images"
    return f"The splits of this data set are ours ({why}): {cut}, {drawn}."


def copy_problems(ids: list[str], published: list[str | None], copies: Pairs, splits: list[str]) -> list[Problem]:
    """A problem for every image that is a copy: of the held-out image for which it was dropped, or else of one that
    stays."""
    matched, found = _neighbours(copies), []
    for index in sorted(matched):
        dropped = splits[index] == DROPPED
        if dropped:
            other = min(_held_out(index, published, matched), key=lambda each: (published[each] != "test", each))
        else:
            order = {each: (splits[each] not in ("test", "val"), each) for each in (index, *matched[index])}
            other = min((each for each in order if splits[each] != DROPPED), key=order.__getitem__)
        if other != index:
            half = published[other] if dropped else splits[other]
            action = "dropped" if dropped else f"kept beside it, in {splits[index]}"
            what = f"is a copy of {ids[other]} of {half}"
            found.append(Problem(ids[index], what, action, "copy-dropped" if dropped else "copy-kept"))
    return found


def _neighbours(copies: Pairs) -> dict[int, list[int]]:
    """The images that each image with a copy matches directly."""
    matched: dict[int, list[int]] = {}
    for i, j in copies:
        matched.setdefault(i, []).append(j)
        matched.setdefault(j, []).append(i)
    return matched


def _held_out(index: int, published: list[str | None], matched: dict[int, list[int]]) -> list[int]:
    """The images of more strictly held-out published halves that an image is a copy of."""
    stricter = {"test": (), "val": ("test",)}.get(published[index] or "train", ("test", "val"))
    return [other for other in matched.get(index, []) if published[other] in stricter]


def _group_name(group: str, id: str, where: str) -> str:
    found = re.search(group, id)
    if found is None:
        raise UserError(f"{where}.group: {group!r} is not found in the id {id!r}; every image needs a group")
    return str(found[1])


def _by_group(groups: list[int], indices: Iterable[int]) -> dict[int, list[int]]:
    members: dict[int, list[int]] = {}
    for index in indices:
        members.setdefault(groups[index], []).append(index)
    return members


def _to_cut(published: list[str | None], options: Split) -> dict[str, float]:
    """The shares of the splits that are not published."""
    return {split: share for split, share in (("test", options.test), ("val", options.val)) if split not in published}


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


def _none_empty(splits: list[str], groups: int, where: str) -> None:
    empty = [split for split in SPLITS if split not in splits]
    if empty:
        raise UserError(
            f"{where}: no image is left for {' and '.join(empty)} of {len(splits)} usable images, "
            f"which form {groups} groups (copies of one picture, and what `split.group` names, stay together); "
            "give more images or smaller shares in `split`"
        )
