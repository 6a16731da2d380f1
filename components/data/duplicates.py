"""Copies of one picture: found by perceptual hash, confirmed on the raw pixels.

Two images are copies when their 256-bit hashes (pHash: signs of the lowest 16 x 16 frequencies against their median)
differ in at most 16 bits, and 64 x 64 grey thumbnails of their raw pixels agree. In a cell they agree where the grey of
one lies within those of the other's 3 x 3 cells around it. A copy that was scaled, saved again or cut by some pixels
differs a little in many cells. Two moments seen by a fixed camera, whose hashes may be equal, differ much in a few
cells, where somebody stands, and hardly elsewhere. So the fourth largest disagreement may be at most 20 grey levels and
four times the median difference.

On the training halves of ShanghaiTech the two pairs of copies differ in at most 16 bits, all other pairs in more than
60 (`pytest tests/data/test_split.py -k far_apart`); on 400 frames of Mall no two are copies. Cut-outs and mirrored
copies are not found. Everything is measured on raw pixels, so that what is a copy does not depend on `longest_side`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import imagehash
import numpy as np
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

SIDE = 16  # of the square of frequencies
MOST_BITS = 16
THUMBNAIL = (64, 64)
REDUCED = 256  # pixels: large images are first reduced to this side at least, which is faster
MOST_GREY = 20.0  # grey levels of 255: between the means of two thumbnails, and of the disagreement of a cell
SPREAD = 4.0  # medians of the difference that are added to that
IGNORED = 3  # cells that disagree most

Pairs = list[tuple[int, int]]


class ImageSignature(NamedTuple):
    """What two images are compared by: the bits of the hash (256,) bool, and the grey thumbnail (64, 64) uint8."""

    bits: np.ndarray
    thumbnail: np.ndarray


def image_signature(pixels: np.ndarray) -> ImageSignature:
    """The signature of an image (H, W, 3) uint8."""
    grey = Image.fromarray(pixels).convert("L")
    grey = grey.reduce(max(1, min(grey.size) // REDUCED))
    thumbnail = np.asarray(grey.resize(THUMBNAIL, Image.Resampling.BOX))
    return ImageSignature(imagehash.phash(grey, SIDE).hash.ravel(), thumbnail)


class Thumbnails(NamedTuple):
    """Thumbnails (N, 64, 64) int16 less their mean grey, the smallest and largest of each cell and its neighbours in
    them, and these means (N,)."""

    grey: np.ndarray
    low: np.ndarray
    high: np.ndarray
    means: np.ndarray

    def take(self, numbers: np.ndarray) -> Thumbnails:
        return Thumbnails(*(each[numbers] for each in self))


def find_copies(signatures: list[ImageSignature]) -> Pairs:
    """Pairs (i, j), i < j, of images that are copies of one picture, each compared directly."""
    candidates = [*_close_hashes(signatures)]
    if not candidates:
        return []
    compared = np.unique(np.concatenate([[i, *close] for i, close in candidates]))
    thumbnails = stack_thumbnails([signatures[number] for number in compared])

    def take(numbers: np.ndarray | list[int]) -> Thumbnails:
        return thumbnails.take(np.searchsorted(compared, numbers))

    return [(i, j) for i, close in candidates for j in close[thumbnails_agree(take([i]), take(close))].tolist()]


def group_linked(number: int, pairs: Pairs) -> list[int]:
    """A group for each of `number` images, the same for those that pairs link, also through others: numbered in the
    order in which groups first appear."""
    ends = np.array(pairs, int).reshape(-1, 2)
    links = coo_matrix((np.ones(len(ends)), ends.T), shape=(number, number))
    _, labels = connected_components(links, directed=False)
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    groups: list[int] = np.argsort(np.argsort(first))[place].tolist()
    return groups


def stack_thumbnails(signatures: list[ImageSignature]) -> Thumbnails:
    """The thumbnails of all images, made ready to be compared."""
    grey = np.stack([each.thumbnail for each in signatures]).astype(np.int16)
    means = grey.mean(axis=(1, 2)).round().astype(np.int16)
    grey -= means[:, None, None]
    return Thumbnails(grey, minimum_filter(grey, (1, 3, 3)), maximum_filter(grey, (1, 3, 3)), means)


def thumbnails_agree(one: Thumbnails, others: Thumbnails) -> np.ndarray:
    """Whether one thumbnail (N = 1) shows the same as each of the others: (N,) bool. How bright an image is as a whole
    does not matter, up to `MOST_GREY`."""
    beyond = [one.grey - others.high, others.low - one.grey, others.grey - one.high, one.low - others.grey]
    disagreement = np.maximum.reduce(beyond).reshape(len(others.means), -1)
    fourth = np.partition(disagreement, -1 - IGNORED, axis=1)[:, -1 - IGNORED]
    median = np.median(np.abs(one.grey - others.grey), axis=(1, 2))
    agree: np.ndarray = (fourth <= MOST_GREY + SPREAD * median) & (np.abs(one.means - others.means) <= MOST_GREY)
    return agree


def _close_hashes(signatures: list[ImageSignature]) -> Iterator[tuple[int, np.ndarray]]:
    """Each image whose hash lies near those of later ones, and the numbers of these."""
    signs = np.where([each.bits for each in signatures], np.float32(1), np.float32(-1))
    for i in range(len(signatures) - 1):
        agreeing_less_differing = signs[i + 1 :] @ signs[i]
        differing = (signs.shape[1] - agreeing_less_differing) / 2
        if len(candidates := i + 1 + np.flatnonzero(differing <= MOST_BITS)):
            yield i, candidates
