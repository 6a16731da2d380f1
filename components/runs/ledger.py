"""The ledger of a registry: every decision by its number, and what is in use after it.

A decision is made in the moment in which the object of the next number is created, which only one can do;
`current.json` and `previous.json` are written after it. Where a process was killed in between, a slower one wrote its
own over newer ones, or one is torn, the next reader mends them: it looks for entries after the one that `current.json`
names, and writes both again. Where that entry is damaged, they hold what it said."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.errors import UserError
from components.runs.journal import Journal
from components.runs.object_store import Store
from components.workspace.layout import RegistryNames

ATTEMPTS = 100  # others' decisions, written while ours was made, after which we give up
THREADS = 16  # entries that are read at the same time: on S3, each takes some hundredths of a second
HASH = r"^[0-9a-f]{64}$"
Action = Literal["deploy", "rollback", "record"]

log = logging.getLogger(__name__)


class InUse(BaseModel):
    """A counter's time in use: since when, and by which entry of the ledger."""

    model_config = ConfigDict(frozen=True)

    counter: Annotated[str, Field(pattern=HASH)]
    entry: int
    since: datetime


class Entry(BaseModel):
    """One decision, and what is in use after it. `metadata` says what a deployed counter is."""

    model_config = ConfigDict(frozen=True)

    number: int
    time: datetime
    action: Action
    decision: dict[str, Any]
    current: InUse | None
    previous: InUse | None
    metadata: dict[str, Any] = {}


class State(NamedTuple):
    """What is in use after a decision, what before, and what the counter is that was put in use."""

    current: InUse | None = None
    previous: InUse | None = None
    metadata: Mapping[str, Any] = MappingProxyType({})


# Of the last entry, the next number, and the time: what is to become, or an entry that says so already.
Change = Callable[[Entry | None, int, datetime], State | Entry]


class Ledger:
    """The ledger in a store; `address` names it in messages."""

    def __init__(self, store: Store, address: str) -> None:
        self._store, self._address = store, address
        self._journal = Journal(store, RegistryNames.LEDGER)

    def last(self) -> tuple[Entry | None, int]:
        """The newest entry, and its number. `current.json` is written again where it names an older one. Of an entry
        that is damaged, `current.json` says what is in use, if it was written after it; else the newest entry does
        that can be read. Raises UserError: the ledger is gone."""
        contents = self._store.read(RegistryNames.CURRENT)
        known = _number(contents)
        if contents is not None and known is None:
            log.warning("%s/%s: is damaged; the ledger says what is in use", self._address, RegistryNames.CURRENT)
        number = self._journal.last(known or 0)
        if known and not number:
            raise UserError(
                f"{self._address}/{RegistryNames.LEDGER}: is gone, although {RegistryNames.CURRENT} names its entry "
                f"{known}; put it back from a copy"
            )
        entry = self.entry(number) if number else None
        if entry is None and known == number:
            entry = self._from_pointers(number)
        if entry is None:
            older = (self.entry(each) for each in range(number - 1, 0, -1))
            entry = next((each for each in older if each is not None), None)
        if known != number and entry is not None:
            self._write_pointers(entry, number)
        return entry, number

    def entry(self, number: int) -> Entry | None:
        """One entry; None, with a warning, where it cannot be read."""
        values = self._journal.read(number)
        try:
            return None if values is None else Entry.model_validate(values)
        except ValidationError:
            log.warning("%s: entry %d of the ledger is damaged; it is passed over", self._address, number)
            return None

    def entries(self) -> list[Entry]:
        """Every entry, the oldest first, without those that cannot be read."""
        with ThreadPoolExecutor(THREADS) as pool:
            found = [*pool.map(self.entry, range(1, self._journal.last() + 1))]
        return [entry for entry in found if entry is not None]

    def append(self, action: Action, decision: Mapping[str, Any], change: Change) -> Entry:
        """Write the next entry. Where others write one at the same time, `change` is asked again, knowing theirs."""
        for _ in range(ATTEMPTS):
            last, number = self.last()
            now = datetime.now(UTC)
            state = change(last, number + 1, now)
            if isinstance(state, Entry):
                return state
            entry = Entry(
                number=number + 1,
                time=now,
                action=action,
                decision=dict(decision),
                current=state.current,
                previous=state.previous,
                metadata=dict(state.metadata),
            )
            if self._journal.append(entry.number, entry.model_dump(mode="json")):
                self._write_pointers(entry, entry.number)
                return entry
        raise UserError(f"{self._address}: others write to the ledger all the time; try again")

    def _from_pointers(self, number: int) -> Entry | None:
        """What `current.json` and `previous.json` say of an entry that is damaged; None where `current.json` does not
        name it."""
        known, current = self._read_pointer(RegistryNames.CURRENT)
        if known != number:
            return None
        known, previous = self._read_pointer(RegistryNames.PREVIOUS)
        log.warning("%s: %s says what is in use", self._address, RegistryNames.CURRENT)
        return Entry(
            number=number,
            time=current.since if current else datetime.now(UTC),
            action="record",
            decision={},
            current=current,
            previous=previous if known == number else None,
        )

    def _read_pointer(self, name: str) -> tuple[int | None, InUse | None]:
        """The entry that one of the two files names, and the place that it holds; (None, None) where it is damaged."""
        contents = self._store.read(name) or b""
        try:
            values = json.loads(contents)
            return _number(contents), InUse.model_validate(values) if values["counter"] else None
        except (ValueError, KeyError, TypeError):
            return None, None

    def _write_pointers(self, entry: Entry, number: int) -> None:
        """Write `previous.json` and `current.json`. That this fails is no more than a warning: the ledger holds what
        they say, and who may only read goes on."""
        try:
            for name, place in ((RegistryNames.PREVIOUS, entry.previous), (RegistryNames.CURRENT, entry.current)):
                values = {"ledger": number} | ({"counter": None} if place is None else place.model_dump(mode="json"))
                self._store.replace(name, json.dumps(values, indent=2).encode() + b"\n")
        except (OSError, UserError) as error:
            log.warning("%s: %s could not be written (%s)", self._address, RegistryNames.CURRENT, error)


def _number(pointer: bytes | None) -> int | None:
    """The number of the entry that the contents of `current.json` name; None where they are absent or damaged."""
    try:
        return None if pointer is None else int(json.loads(pointer)["ledger"])
    except (ValueError, KeyError, TypeError):
        return None
