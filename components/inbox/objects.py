"""The objects of an inbox, a folder or a prefix of a bucket: listed and read, never changed.

Their names come from strangers: they are looked up as they were listed, and no symbolic link is followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from components.errors import UserError, one_line

S3 = "s3://"


class StoredObject(NamedTuple):
    """One object. `stamp` changes when its contents do; `changed` is in seconds since 1970.

    `refusal` says why it is never read."""

    name: str  # below the inbox, with forward slashes
    size: int  # bytes
    stamp: str
    changed: float
    refusal: str = ""


class Inbox(Protocol):
    def list(self) -> list[StoredObject]:
        """Every object, by name. Raises UserError: the address cannot be listed."""

    def read(self, stored: StoredObject) -> bytes:
        """The contents. Raises UserError: it cannot be read, or is not as it was listed."""


def open_inbox(address: str) -> Inbox:
    """The inbox at a folder or an `s3://` address. Raises UserError for any other."""
    if address.startswith(S3):
        return Bucket(address)
    if "://" in address:
        raise UserError(f"inbox: {address!r} is neither a folder nor an address that begins with {S3}")
    return Folder(Path(address))


class Folder:
    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self) -> list[StoredObject]:
        if not self.root.is_dir():
            raise UserError(f"inbox: there is no folder {self.root}")
        return sorted(self._below(self.root))

    def _below(self, folder: Path) -> Iterator[StoredObject]:
        with os.scandir(folder) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    yield from self._below(Path(entry.path))
                    continue
                link, regular = stat.S_ISLNK(found.st_mode), stat.S_ISREG(found.st_mode)
                refusal = "is a symbolic link" if link else "" if regular else "is no regular file"
                name = Path(entry.path).relative_to(self.root).as_posix()
                yield StoredObject(name, found.st_size, _stamp(found), found.st_mtime, refusal)

    def read(self, stored: StoredObject) -> bytes:
        path = self.root / stored.name
        if self.root.resolve() not in path.resolve().parents:  # a folder on the way became a link
            raise UserError("lies outside the inbox")
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise UserError(f"cannot be read ({error.strerror})") from None
        with open(descriptor, "rb") as file:  # noqa: PTH123 (of a descriptor)
            contents = file.read(stored.size + 1)
            if _stamp(os.fstat(file.fileno())) != stored.stamp or len(contents) != stored.size:
                raise UserError("changed while it was read")
        return contents


class Bucket:
    """A prefix of a bucket; the environment says at which server and with which credentials."""

    def __init__(self, address: str) -> None:
        import s3fs  # half a second to import

        self.address = address.rstrip("/")
        self._prefix = f"{self.address.removeprefix(S3)}/"
        self._bucket = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)

    def list(self) -> list[StoredObject]:
        try:
            found = self._bucket.find(self.address, detail=True)
        except Exception as error:  # whatever botocore and aiohttp raise for an address, a permission or a network
            raise UserError(f"inbox: {self.address}: cannot be listed ({one_line(error)})") from None
        return sorted(
            StoredObject(
                key.removeprefix(self._prefix),
                each["size"],
                f"{each['ETag']} {each['LastModified'].isoformat()}",
                each["LastModified"].timestamp(),
            )
            for key, each in found.items()
            if key.startswith(self._prefix) and not key.endswith("/")
        )

    def read(self, stored: StoredObject) -> bytes:
        try:
            contents: bytes = self._bucket.cat_file(f"{self._prefix}{stored.name}", end=stored.size + 1)
        except Exception as error:
            raise UserError(f"cannot be fetched ({one_line(error)})") from None
        if len(contents) != stored.size:
            raise UserError("changed while it was read")
        return contents


def _stamp(found: os.stat_result) -> str:
    return str(found.st_mtime_ns)
