"""New pictures of an inbox taken into a raw data set; a night that was killed anywhere goes on where it was.

What makes that hold: names of files in the data set follow from names of objects; a label is written before its
picture, and both before the line of the manifest (`accepted.jsonl`) that lists them; what was looked at is written down
last. Whatever is done again finds its own files, by their hashes, and changes nothing."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from components.config.retrain import Retrain
from components.datasets.shared.files import is_image
from components.errors import UserError
from components.inbox.examine import Examined, IncompleteError, UnreachableError, examine
from components.inbox.held_out import HeldOut
from components.inbox.items import Item, pair_objects
from components.inbox.objects import Inbox, StoredObject, open_inbox
from components.inbox.raw_set import RawSet
from components.workspace.atomic import PARTIAL, read_lines, write_atomically, write_lines
from components.workspace.layout import InboxPaths
from components.workspace.sources import hash_file

log = logging.getLogger(__name__)

BATCH, THREADS = 32, 4  # items that are in memory, and that are examined at the same time
SAVE_EVERY = 256  # items: so many are looked at again after a kill
TAKEN, REFUSED = "taken", "refused"  # what became of an object

Outcome = Examined | IncompleteError | UserError


@dataclass
class Ingested:
    """What a night found: `accepted` are the new lines of the manifest; by name of the object, why others are not taken
    (`refused`, those that were not refused before), or wait.

    `undecided` are the objects that were taken ("") or refused (why) since the last decision, in a night that was
    killed too."""

    accepted: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    undecided: dict[str, str] = field(default_factory=dict)
    unchanged: int = 0  # objects
    unreachable: int = 0  # items among those that wait

    @property
    def undecided_refused(self) -> int:
        """How many of the undecided objects were refused."""
        return sum(reason != "" for reason in self.undecided.values())


def ingest(
    settings: Retrain, raw: RawSet, paths: InboxPaths, held_out: Callable[[], HeldOut], now: float | None = None
) -> Ingested:
    """Take what is new in the inbox. `held_out` is called only if something is. Raises UserError: the inbox cannot be
    listed, or nothing in it can be fetched."""
    now = time.time() if now is None else now
    inbox = open_inbox(settings.inbox)
    objects = inbox.list()
    listing = pair_objects(objects, raw.naming, now, settings.settle)
    seen = Seen(paths.seen, objects)
    found = Ingested(waiting=dict(listing.waiting))
    found.refused = seen.refuse(listing.refused)
    found.undecided = {line["name"]: line["reason"] for line in read_lines(paths.undecided)} | found.refused
    new = [item for item in listing.items if not seen.has(item)]
    found.unchanged = len(objects) - len(found.waiting) - len(found.refused) - 2 * len(new)
    if new:
        writer = RawSetWriter(raw, settings, held_out())
        for batch in _batches(new, SAVE_EVERY):
            _take_all(batch, inbox, writer, seen, found, now)
            _write_reasons(paths.undecided, found.undecided)  # first: what the manifest lists is not taken once more
            writer.save()
            seen.save()
        if found.unreachable == len(new):
            raise UserError(f"inbox: {settings.inbox}: {new[0].name} {found.waiting[new[0].name]}, nor does any other")
    _write_reasons(paths.undecided, found.undecided)
    seen.save()
    _write_reasons(paths.waiting, found.waiting)
    log.info("inbox: %d taken, %d refused, %d waiting, %d known", *_numbers(found))
    return found


def _take_all(
    items: Sequence[Item], inbox: Inbox, writer: RawSetWriter, seen: Seen, found: Ingested, now: float
) -> None:
    """Examine items, some at the same time, and take one after the other."""
    with ThreadPoolExecutor(THREADS) as pool:
        for batch in _batches(items, BATCH):
            outcomes = [*pool.map(partial(_outcome, inbox=inbox, writer=writer, now=now), batch)]
            for item, outcome in zip(batch, writer.refuse_held_out(outcomes), strict=True):
                try:
                    if isinstance(outcome, Exception):
                        raise outcome
                    if line := writer.take(outcome):
                        found.accepted.append(line)
                        found.undecided[item.name] = ""
                    seen.add(item, TAKEN)
                except IncompleteError as reason:
                    found.waiting[item.name] = str(reason)
                    found.unreachable += isinstance(reason, UnreachableError)
                except UserError as reason:
                    seen.add(item, REFUSED, str(reason))
                    found.refused[item.name] = found.undecided[item.name] = str(reason)


def _write_reasons(file: Path, reasons: dict[str, str]) -> None:
    write_lines(file, ({"name": name, "reason": reason} for name, reason in sorted(reasons.items())))


def _outcome(item: Item, inbox: Inbox, writer: RawSetWriter, now: float) -> Outcome:
    try:
        return examine(item, inbox, writer.raw, writer.settings, now)
    except (UserError, IncompleteError) as reason:
        return reason


class Seen:
    """What became of each object of the inbox, as it was when it was looked at."""

    def __init__(self, file: Path, objects: Iterable[StoredObject]) -> None:
        self._objects = {stored.name: stored for stored in objects}
        self._file, self._known = file, {line["name"]: line for line in read_lines(file)}
        self._lines = {name: line for name, line in self._known.items() if self._is_same(line)}

    def has(self, item: Item) -> bool:
        return all(stored.name in self._lines for stored in item)

    def refuse(self, refused: dict[str, str]) -> dict[str, str]:
        """Write down objects that are refused by their names; those of them that were not before."""
        new = {
            name: reason
            for name, reason in refused.items()
            if name not in self._lines or self._lines[name]["reason"] != reason
        }
        for name, reason in new.items():
            self._lines[name] = self._line(name, REFUSED, reason)
        return new

    def add(self, item: Item, outcome: str, reason: str = "") -> None:
        for stored in item:
            self._lines[stored.name] = self._line(stored.name, outcome, reason)

    def save(self) -> None:
        if self._lines != self._known:
            write_lines(self._file, (self._lines[name] for name in sorted(self._lines)))
            self._known = dict(self._lines)

    def _line(self, name: str, outcome: str, reason: str) -> dict[str, Any]:
        stored = self._objects[name]
        return {"name": name, "size": stored.size, "stamp": stored.stamp, "outcome": outcome, "reason": reason}

    def _is_same(self, line: dict[str, Any]) -> bool:
        stored = self._objects.get(line["name"])
        return stored is not None and (stored.size, stored.stamp) == (line["size"], line["stamp"])


class RawSetWriter:
    """The raw data set, and where a new picture goes in it."""

    def __init__(self, raw: RawSet, settings: Retrain, held_out: HeldOut) -> None:
        self.raw, self.settings, self._held_out = raw, settings, held_out
        self._lines, self._new = read_lines(raw.accepted), 0
        self._hashes = {line["sha256"]: line["picture"] for line in self._lines}
        self._labels = {line["picture"]: line["label_sha256"] for line in self._lines}
        self._owners: dict[str, str] = {}  # pictures by what they share with their labels
        listed = {*self._labels}
        for path in _files_below(raw.root):
            place = path.relative_to(raw.root).as_posix()
            key = raw.naming.key(place)
            if key is not None and not key[1]:
                self._owners[key[0]] = place
                if place not in listed:
                    self._hashes.setdefault(hash_file(path), place)

    def refuse_held_out(self, outcomes: list[Outcome]) -> list[Outcome]:
        """The same, where copies of held-out images are mistakes."""
        pictures = [each for each in outcomes if isinstance(each, Examined)]
        copies = iter(self._held_out.copies([(each.sha256, each.signature) for each in pictures]))
        return [
            UserError(f"is a copy of the held-out image {copy}")
            if isinstance(each, Examined) and (copy := next(copies))
            else each
            for each in outcomes
        ]

    def take(self, each: Examined) -> dict[str, Any] | None:
        """Write an item to its place: its line of the manifest; None where it was there. Raises UserError: it is there
        under another name, or another picture has its name."""
        picture, label = (self.raw.folder / stored.name for stored in each.item)
        place, label_sha256 = picture.relative_to(self.raw.root).as_posix(), hashlib.sha256(each.label).hexdigest()
        key = self.raw.naming.key(place)
        assert key is not None
        if (other := self._hashes.get(each.sha256, place)) != place:
            raise UserError(f"is a copy of {other}")
        if (owner := self._owners.get(key[0], place)) != place:
            raise UserError(f"has the name of {owner}")
        if place in self._labels and not picture.exists():
            raise UserError("was taken before, and removed by hand")
        if picture.exists() and hash_file(picture) != each.sha256:
            raise UserError("another picture has this name: give each picture a name of its own")
        if self._labels.get(place) == label_sha256:
            return None
        write_atomically(label, each.label)
        if not picture.exists():
            write_atomically(picture, each.picture)
        line = self._line(each, place, label.relative_to(self.raw.root).as_posix(), label_sha256)
        self._hashes[each.sha256], self._labels[place], self._owners[key[0]] = place, label_sha256, place
        self._lines.append(line)
        self._new += 1
        return line

    def save(self) -> None:
        """Write the manifest; its earlier lines stay as they are."""
        if self._new:
            write_lines(self.raw.accepted, self._lines)
            self._new = 0

    def _line(self, each: Examined, place: str, label: str, label_sha256: str) -> dict[str, Any]:
        return {
            "picture": place,
            "label": label,
            "sha256": each.sha256,
            "label_sha256": label_sha256,
            "width": each.size[0],
            "height": each.size[1],
            "people": each.people,
            "camera": each.camera,
            "changed": datetime.fromtimestamp(max(stored.changed for stored in each.item), UTC).isoformat(),
        }


def _files_below(root: Path) -> Iterator[Path]:
    """Images, without what a killed night left half written, which is removed."""
    for path in sorted(root.rglob("*")):
        if path.name.startswith(".") and path.name.endswith(PARTIAL):
            path.unlink()
        elif is_image(path):
            yield path


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _numbers(found: Ingested) -> tuple[int, int, int, int]:
    return len(found.accepted), len(found.refused), len(found.waiting), found.unchanged
