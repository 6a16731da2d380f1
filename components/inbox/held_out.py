"""Pictures that no counter may learn from: of the raw set's own held-out halves, and of the gate's held-out sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from components.config import plugins
from components.config.options import Choice
from components.data.decode import prepare_images, read_image
from components.data.duplicates import ImageSignature, find_copies, image_signature
from components.datasets.shared.files import is_image
from components.errors import UserError
from components.inbox.raw_set import RawSet
from components.workspace.sources import hash_file


class HeldOut:
    """`sources` are further sets, each with the half of it that is held out; None: all of it.

    Raises UserError: a held-out set cannot be read."""

    def __init__(self, raw: RawSet, sources: Iterable[tuple[Choice, str | None]] = ()) -> None:
        found = [*_of_halves(raw), *(each for source, half in sources for each in _of_source(source, half))]
        self.names = [name for name, _, _ in found]
        self._hashes = {sha256: name for name, sha256, _ in found}
        self._signatures = [signature for _, _, signature in found]

    def copies(self, pictures: Sequence[tuple[str, ImageSignature]]) -> list[str | None]:
        """For each picture (SHA-256 of its file, signature) the held-out image that it is a copy of, if any."""
        first = len(self._signatures)
        pairs = find_copies([*self._signatures, *(signature for _, signature in pictures)]) if first else []
        matched = {j - first: self.names[i] for i, j in pairs if i < first <= j}
        return [self._hashes.get(sha256, matched.get(number)) for number, (sha256, _) in enumerate(pictures)]


def _of_halves(raw: RawSet) -> Iterator[tuple[str, str, ImageSignature]]:
    """The images of halves that are folders: name, SHA-256 of the file, signature."""
    folders = [folder for split, folder in raw.halves.items() if split != "train"]
    for path in sorted(path for folder in folders for path in folder.rglob("*") if is_image(path)):
        try:
            pixels = np.asarray(read_image(path))
        except UserError:
            continue  # nobody can learn from it, nor be tested on it
        yield path.relative_to(raw.root).as_posix(), hash_file(path), image_signature(pixels)


def _of_source(source: Choice, half: str | None) -> Iterator[tuple[str, str, ImageSignature]]:
    options = plugins.resolve("dataset", source, "held-out set")
    dataset = plugins.build("dataset", source.kind, options)
    for image in prepare_images(dataset, None, []):
        if half in (None, image.published_split):
            yield image.id, image.sha256, image_signature(image.raw_pixels)
