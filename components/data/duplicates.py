"""Copies of one picture, found by perceptual hash.

Two images are copies when their 256-bit hashes (pHash: signs of the lowest 16 x 16 frequencies against their median)
differ in at most 24 bits, and their 32 x 32 grey thumbnails by at most 20 of 255 grey levels on average. On the
training halves of ShanghaiTech copies differ in at most 16 bits and all other pairs in more than 60
(`pytest tests/data/test_split.py -k far_apart`). The thumbnails keep apart flat images, whose hashes say nothing.
Cut-outs and mirrored copies are not found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

SIDE = 16  # of the square of frequencies
MOST_BITS = 24
MOST_GREY = 20.0
THUMBNAIL = (32, 32)


class ImageSignature(NamedTuple):
    """What two images are compared by: the bits of the hash (256,) bool, and the grey thumbnail (1024,) uint8."""

    bits: np.ndarray
    thumbnail: np.ndarray


def image_signature(pixels: np.ndarray) -> ImageSignature:
    """The signature of an image (H, W, 3) uint8."""
    grey = Image.fromarray(pixels).convert("L")
    thumbnail = np.asarray(grey.resize(THUMBNAIL, Image.Resampling.BOX))
    return ImageSignature(imagehash.phash(grey, SIDE).hash.ravel(), thumbnail.ravel())


def group_duplicates(signatures: list[ImageSignature]) -> np.ndarray:
    """(N,) a number for every image, the same for copies: numbered in the order in which groups first appear.

    A copy of a copy belongs to the group."""
    if not signatures:
        return np.empty(0, int)
    pairs = np.array([*_pairs(signatures)], int).reshape(-1, 2)
    links = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(signatures), len(signatures)))
    _, labels = connected_components(links, directed=False)
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place]


def _pairs(signatures: list[ImageSignature]) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, of images that are copies."""
    signs = np.where([each.bits for each in signatures], np.float32(1), np.float32(-1))
    for i in range(len(signatures) - 1):
        agreeing_less_differing = signs[i + 1 :] @ signs[i]
        differing = (signs.shape[1] - agreeing_less_differing) / 2
        for j in (i + 1 + np.flatnonzero(differing <= MOST_BITS)).tolist():
            if np.abs(signatures[i].thumbnail.astype(np.float32) - signatures[j].thumbnail).mean() <= MOST_GREY:
                yield i, j
