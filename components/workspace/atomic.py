"""Files that are either whole or not there, whenever the process or the machine stops."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from components.errors import UserError

PARTIAL = ".partial"  # ends the names of files that are being written; they are hidden, so no reader takes them


def write_atomically(path: Path, contents: bytes) -> None:
    """Write a file beside its place and move it there, in folders that are made where they are missing.

    Nothing of it is seen under its name before all of it is on the disk; nor is its name lost after."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL, delete=False) as partial:
        try:
            partial.write(contents)
            partial.flush()
            os.fchmod(partial.fileno(), mode)
            os.fsync(partial.fileno())
            Path(partial.name).replace(path)
        except BaseException:
            Path(partial.name).unlink(missing_ok=True)
            raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write a file of JSON lines, whole."""
    write_atomically(path, "".join(f"{json.dumps(record)}\n" for record in records).encode())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines; none where there is no file. Raises UserError: a line that is none."""
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            records.append(json.loads(line))
        except ValueError:
            raise UserError(f"{path}:{number}: is damaged; restore the file, or remove this line") from None
    return records
