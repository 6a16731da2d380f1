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


class Epochs:
    """The epochs of one run: how far it is, and what each epoch measured."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total = title, total
        self.bar = tqdm(total=total, desc=title, unit=" epochs", disable=not sys.stderr.isatty(), bar_format=_FORMAT)

    def __call__(self, epochs: float, record: dict[str, float] | None) -> None:
        self.bar.update(round(epochs - self.bar.n, 3))
        if record is None:
            return
        line = ", ".join(f"{name} {record[name]:.4g}" for name in ("loss", "val_mae", "val_rmse") if name in record)
        if self.bar.disable:
            print(f"{self.title}: epoch {epochs:.0f} of {self.total}: {line}, {record['seconds']:.1f} s", flush=True)
        else:
            self.bar.set_postfix_str(line)

    def close(self) -> None:
        self.bar.close()


_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total} epochs [{elapsed}<{remaining}] {postfix}"
