"""Copies of one picture, found by perceptual hash.

Two images are copies when their 256-bit hashes (pHash: signs of the lowest 16 x 16 frequencies against their median)
differ in at most 24 bits, and their 32 x 32 grey thumbnails by at most 20 of 255 grey levels on average. On the
training halves of ShanghaiTech the copies differ in 4 and 14 bits, all other pairs in 74 or more
(tests/test_prepare.py). The thumbnails keep apart flat images, whose hashes say nothing. Cut-outs and mirrored copies
are not found."""

from __future__ import annotations

import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

SIDE = 16  # of the square of frequencies
MOST_BITS = 24
MOST_GREY = 20.0
THUMBNAIL = (32, 32)


def look(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hash (256,) bool and grey thumbnail (1024,) uint8 of an image (H, W, 3)."""
    grey = Image.fromarray(pixels).convert("L")
    thumbnail = np.asarray(grey.resize(THUMBNAIL, Image.Resampling.BOX))
    return imagehash.phash(grey, SIDE).hash.ravel(), thumbnail.ravel()


def groups(hashes: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
    """(N,) a number for every image, the same for copies: numbered in the order in which groups first appear.

    hashes (N, 256) bool, thumbnails (N, 1024) uint8. A copy of a copy belongs to the group."""
    pairs = np.array([*_alike(hashes, thumbnails)]).reshape(-1, 2)
    links = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(hashes), len(hashes)))
    _, labels = connected_components(links, directed=False)
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place]


def _alike(hashes: np.ndarray, thumbnails: np.ndarray):
    """Pairs (i, j), i < j, of images that are copies."""
    signs = np.where(hashes, 1, -1).astype(np.float32)  # their product counts agreements minus differences
    for i in range(len(hashes) - 1):
        bits = (signs.shape[1] - signs[i + 1 :] @ signs[i]) / 2
        for j in i + 1 + np.flatnonzero(bits <= MOST_BITS):
            if np.abs(thumbnails[i].astype(np.float32) - thumbnails[j]).mean() <= MOST_GREY:
                yield i, j
