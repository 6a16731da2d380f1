"""Objects by name in a folder or below an s3:// address: each is written whole or not at all, and of several who create
one, one does.

On a disk: a temporary file, flushed and renamed, under a lock. On S3: puts with `If-None-Match`
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlparse
from urllib.request import url2pathname

from filelock import FileLock, Timeout

from components.errors import UserError, one_line
from components.workspace.atomic import write_atomically
from components.workspace.layout import RegistryNames
from components.workspace.lock import WAIT

if TYPE_CHECKING:
    from s3fs import S3FileSystem

S3 = "s3://"
LOST = {"PreconditionFailed", "ConditionalRequestConflict"}  # S3's codes: somebody else was faster


class Store(Protocol):
    """Objects by name; a name has `/` between its parts. Every method raises UserError where S3 refuses, and OSError
    where the disk does."""

    def read(self, name: str) -> bytes | None:
        """The contents of an object; None where there is none."""

    def create(self, name: str, contents: bytes) -> bool:
        """Write an object unless there is one of this name; whether it was written.

        Where an answer of S3 was lost and the request repeated, False may come although it was written."""

    def replace(self, name: str, contents: bytes) -> None:
        """Write an object, whatever was there."""

    def local_file(self, name: str) -> Path | None:
        """Where an object lies on this machine's disk; None where it has to be fetched."""

    def names(self, folder: str) -> list[str]:
        """The names of all objects below a folder, in order; [] where there is none."""


def open_store(address: str) -> Store:
    """The objects at a folder, a file:// or an s3:// address. Raises UserError for any other address."""
    if address.startswith(S3):
        if not urlparse(address).netloc:
            raise UserError(f"{address}: write s3://BUCKET/PATH")
        return Bucket(address)
    if address.startswith("file://"):
        return Folder(Path(url2pathname(urlparse(address).path)))
    if "://" in address or not address:
        raise UserError(f"{address or 'the empty address'}: must be a folder, a file:// or an s3:// address")
    return Folder(Path(address).expanduser())


class Folder:
    """Objects as files below a folder, which is made when the first one is written."""

    def __init__(self, root: Path) -> None:
        if root.exists() and not root.is_dir():
            raise UserError(f"{root}: is a file; a registry is a folder")
        self.root = root

    def read(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def create(self, name: str, contents: bytes) -> bool:
        self.root.mkdir(parents=True, exist_ok=True)
        lock = self.root / RegistryNames.LOCK
        try:
            with FileLock(lock, timeout=WAIT):
                if (self.root / name).exists():
                    return False
                self.replace(name, contents)
        except Timeout:
            raise UserError(f"{self.root}: another process has been writing for {WAIT} s ({lock} is held)") from None
        return True

    def replace(self, name: str, contents: bytes) -> None:
        write_atomically(self.root / name, contents)

    def local_file(self, name: str) -> Path | None:
        return self.root / name

    def names(self, folder: str) -> list[str]:
        files = (path for path in (self.root / folder).rglob("*") if path.is_file() and not path.name.startswith("."))
        return sorted(path.relative_to(self.root).as_posix() for path in files)


class Bucket:
    """Objects below an s3:// address. Credentials and endpoint are those of the environment, as everywhere."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    @property
    def _client(self) -> S3FileSystem:
        import s3fs  # half a second to import

        return s3fs.S3FileSystem(use_listings_cache=False)  # s3fs keeps one instance

    def _place(self, name: str) -> str:
        return f"{self.address}/{name}".removeprefix(S3)

    def read(self, name: str) -> bytes | None:
        try:
            contents: bytes = self._client.cat_file(self._place(name))
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever botocore and aiohttp raise
            raise self._refused(name, "fetched", error) from None
        return contents

    def create(self, name: str, contents: bytes) -> bool:
        bucket, _, key = self._place(name).partition("/")
        try:
            self._client.call_s3("put_object", Bucket=bucket, Key=key, Body=contents, IfNoneMatch="*")
        except Exception as error:
            if getattr(error.__cause__, "response", {}).get("Error", {}).get("Code") in LOST:
                return False
            raise self._refused(name, "written", error) from None
        return True

    def replace(self, name: str, contents: bytes) -> None:
        try:
            self._client.pipe_file(self._place(name), contents)
        except Exception as error:
            raise self._refused(name, "written", error) from None

    def local_file(self, name: str) -> Path | None:
        return None

    def names(self, folder: str) -> list[str]:
        try:
            found = self._client.find(self._place(folder))
        except Exception as error:
            raise self._refused(folder, "listed", error) from None
        return sorted(key.removeprefix(self._place("")) for key in found)

    def _refused(self, name: str, what: str, error: Exception) -> UserError:
        return UserError(f"{self.address}/{name}: cannot be {what} ({one_line(error)})")
