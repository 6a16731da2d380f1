"""Progress of long work: a bar on a terminal, a few lines in the log elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

log = logging.getLogger(__name__)


def progress(items: Iterable[T], title: str, total: int, unit: str) -> Iterator[T]:
    """The items, and how many of them are done."""
    if sys.stderr.isatty():
        yield from tqdm(items, title, total, unit=f" {unit}")
        return
    step = max(1, total // 4)
    for done, item in enumerate(items, start=1):
        yield item
        if done % step == 0 or done == total:
            log.info("%s: %d of %d %s", title, done, total, unit)
