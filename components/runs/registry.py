"""The counters that were deployed: which one is in use, which one was before, and every decision about it.

A registry is a folder or an s3:// address outside of every stage's outputs, so nothing that DVC does touches it:

    counters/HASH/counter.safetensors, card.md    weights by their SHA-256, which never change
    ledger/00000012.json                          the twelfth decision, and what is in use after it
    current.json, previous.json                   what is in use and what was before, for a quick look

The ledger is what counts: see `ledger.py`."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from components.errors import UserError
from components.runs.folder import read_weights
from components.runs.journal import Journal
from components.runs.ledger import HASH, Entry, InUse, Ledger, State
from components.runs.object_store import open_store
from components.runs.predictor import build_networks, check_finite
from components.workspace.layout import CACHED_COUNTERS, REGISTRY, RegistryNames
from components.workspace.sources import hash_file

ABOUT = ("study", "experiment", "seed", "dataset", "objects", "counter", "validation")  # of weights' metadata


class Deployed(NamedTuple):
    """A counter in use, or the one before: its hash, since when, the number of the decision that put it in use, that
    decision, and what the counter is (of its weights' metadata)."""

    counter: str
    since: datetime
    entry: int
    decision: dict[str, Any]
    metadata: dict[str, Any]


def registry_address(given: str | None = None) -> str:
    """The address that was given, else `DOTFIELD_REGISTRY`, else the folder of the project."""
    return given or os.environ.get("DOTFIELD_REGISTRY") or str(REGISTRY)


class Registry:
    """The registry at an address: a folder, file:// or s3://. Every method raises UserError where S3 refuses."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._store = open_store(address)
        self._ledger = Ledger(self._store, address)

    def add(self, weights: Path, card: str) -> str:
        """Keep a counter and its model card; the SHA-256 of the weights file, under which it is found. A counter that
        is there already stays as it is.

        Raises UserError: see `read_weights`, or the weights do not fit their counter, or hold NaN or infinite
        numbers."""
        read = read_weights(weights)
        build_networks(read)
        check_finite(read)
        contents = weights.read_bytes()
        counter = hashlib.sha256(contents).hexdigest()
        if self._store.read(RegistryNames.weights(counter)) != contents:
            self._store.replace(RegistryNames.card(counter), card.encode())
            self._store.replace(RegistryNames.weights(counter), contents)  # last: where they are, the card is too
        return counter

    def deploy(self, counter: str, decision: Mapping[str, Any], expected: str | None) -> Entry:
        """Put a counter in use. `expected` is the hash of the one that the caller believes to be in use; None: none.

        Where the counter is in use already, the decision that put it there is returned, and nothing written. Raises
        UserError: it was not added, or another one than `expected` is in use, since somebody else was faster."""
        metadata = read_weights(self.weights(counter)).metadata
        about = {key: metadata[key] for key in ABOUT if key in metadata}

        def change(last: Entry | None, number: int, now: datetime) -> State | Entry:
            used = last.current if last else None
            if last and used and used.counter == counter:
                return self._ledger.entry(used.entry) or last
            self._require(used, expected)
            return State(InUse(counter=counter, entry=number, since=now), used, about)

        return self._ledger.append("deploy", decision, change)

    def rollback(self, reason: str) -> Entry:
        """Put the previous counter in use again. The one before that becomes the previous one: rolling back twice
        never brings back what was rolled back from.

        Raises UserError: there is none, its weights are damaged, or somebody else changed what is in use meanwhile."""
        start, _ = self._ledger.last()
        if start is None or start.current is None or start.previous is None:
            raise UserError(f"{self.address}: there is no previous counter to go back to; see `dotfield history`")
        used, back = start.current, start.previous
        self.weights(back.counter)
        before = self._ledger.entry(back.entry)

        def change(last: Entry | None, number: int, now: datetime) -> State | Entry:
            self._require(last.current if last else None, used.counter)
            place = InUse(counter=back.counter, entry=number, since=now)
            return State(place, before.previous, before.metadata) if before else State(place)

        return self._ledger.append("rollback", {"outcome": "ROLLED BACK", "reason": reason}, change)

    def record(self, decision: Mapping[str, Any]) -> Entry:
        """Write down a decision that deploys nothing."""
        return self._ledger.append(
            "record", decision, lambda last, *_: State(last.current, last.previous) if last else State()
        )

    def current(self) -> Deployed | None:
        """The counter in use; None: none was ever deployed."""
        last, _ = self._ledger.last()
        return None if last is None else self._deployed(last.current)

    def previous(self) -> Deployed | None:
        """The counter that a rollback would put in use; None: there is none."""
        last, _ = self._ledger.last()
        return None if last is None else self._deployed(last.previous)

    def weights(self, counter: str) -> Path:
        """A counter's weights file on this machine; one on S3 is fetched once. Its hash is checked.

        Raises UserError: there is no such counter, or its file was changed."""
        if not re.fullmatch(HASH, counter):
            raise UserError(f"{counter}: is not the hash of a counter, 64 hexadecimal digits")
        name = RegistryNames.weights(counter)
        in_place = self._store.local_file(name)
        file = in_place or CACHED_COUNTERS / f"{counter}.safetensors"
        if in_place is None and not _has_hash(file, counter):
            self._fetch(name, file)
        if not file.exists():
            raise UserError(f"{self.address}: has no counter {counter}")
        if not _has_hash(file, counter):
            raise UserError(f"{self.address}/{name}: is damaged: its SHA-256 is another; add the counter again")
        return file

    def card(self, counter: str) -> str:
        """A counter's model card in Markdown; "" where there is none."""
        return (self._store.read(RegistryNames.card(counter)) or b"").decode()

    def history(self) -> list[Entry]:
        """Every decision, the oldest first; one that cannot be read is left out, with a warning."""
        return self._ledger.entries()

    def count_answer(self, held_out: str, answer: Mapping[str, Any]) -> int:
        """Write down that the gate answered a question about these held-out images; the number of answers so far."""
        journal = Journal(self._store, RegistryNames.answers(held_out))
        number = journal.last() + 1
        while not journal.append(number, answer):
            number += 1
        return number

    def _fetch(self, name: str, file: Path) -> None:
        contents = self._store.read(name)
        if contents is None:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
        partial.write_bytes(contents)
        partial.replace(file)

    def _require(self, used: InUse | None, expected: str | None) -> None:
        """Raises UserError where another counter is in use than the one that was compared with."""
        found = used.counter if used else None
        if found != expected:
            is_, was = (each[:12] if each else "no counter" for each in (found, expected))
            raise UserError(
                f"{self.address}: {is_} is in use, not {was} any more: somebody else was faster; compare with what is "
                "in use now, then try again"
            )

    def _deployed(self, place: InUse | None) -> Deployed | None:
        if place is None:
            return None
        entry = self._ledger.entry(place.entry)
        decision, metadata = ({}, {}) if entry is None else (entry.decision, entry.metadata)
        return Deployed(place.counter, place.since, place.entry, decision, metadata)


def _has_hash(file: Path, expected: str) -> bool:
    return file.exists() and hash_file(file) == expected
