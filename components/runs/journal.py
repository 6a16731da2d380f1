"""Records that are only ever added, numbered from 1 without gaps, each an object of its own.

Two who add at the same time want the same number, and one of them gets it: what the other wants, it decides again,
knowing the first one's record."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from itertools import count
from typing import Any
from uuid import uuid4

from components.runs.object_store import Store

log = logging.getLogger(__name__)


class Journal:
    """The records below a folder of a store."""

    def __init__(self, store: Store, folder: str) -> None:
        self._store, self._folder = store, folder

    def last(self, known: int = 0) -> int:
        """The number of the newest record, 0 where there is none. `known` is the number of a record that was seen:
        only those after it are looked for. Where there is no such record, all are listed."""
        if known < 1 or self._store.read(self._name(known)) is None:
            numbers = [_number(name) for name in self._store.names(self._folder)]
            return max(numbers, default=0)
        return next(number for number in count(known) if self._store.read(self._name(number + 1)) is None)

    def read(self, number: int) -> dict[str, Any] | None:
        """A record; None, with a warning, where it is absent or cannot be read as JSON."""
        contents = self._store.read(self._name(number))
        try:
            values = None if contents is None else json.loads(contents)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            log.warning("%s: is %s; it is passed over", self._name(number), "absent" if contents is None else "damaged")
            return None
        return values

    def append(self, number: int, values: Mapping[str, Any]) -> bool:
        """Write the record of this number, unless there is one by then; whether this one stands there now."""
        values = {"id": uuid4().hex, **values}
        if self._store.create(self._name(number), json.dumps(values, indent=2).encode() + b"\n"):
            return True
        there = self.read(number)  # ours, if S3's answer was lost and the request repeated
        return there is not None and there.get("id") == values["id"]

    def _name(self, number: int) -> str:
        return f"{self._folder}/{number:08d}.json"


def _number(name: str) -> int:
    stem = name.rpartition("/")[2].removesuffix(".json")
    return int(stem) if stem.isascii() and stem.isdecimal() else 0
