"""Progress of long work: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def shown(items: Iterable[T], title: str, total: int, unit: str) -> Iterator[T]:
    """The items, and how many of them are done."""
    if sys.stderr.isatty():
        yield from tqdm(items, title, total, unit=f" {unit}")
        return
    step = max(1, total // 4)
    for done, item in enumerate(items, start=1):
        yield item
        if done % step == 0 or done == total:
            print(f"{title}: {done} of {total} {unit}", flush=True)
