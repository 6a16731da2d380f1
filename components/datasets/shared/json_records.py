"""JSON that comes from strangers, read into typed records; keys that a record does not name are skipped."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from components.crowd import Problem
from components.datasets.shared.files import read_text
from components.errors import UserError

T = TypeVar("T")


class Record(BaseModel):
    model_config = ConfigDict(frozen=True)


def load(path: Path, schema: type[T]) -> T:
    """The content of a file. Raises UserError: not JSON, a key that stands twice, or not what the schema says."""
    text = read_text(path)
    try:
        content = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise UserError(f"is not JSON (line {error.lineno}: {error.msg})") from None
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        raise UserError(f"is not JSON that can be read ({type(error).__name__})") from None
    return record(content, schema)


def record(value: Any, schema: type[T]) -> T:
    """A value as a record. Raises UserError: the first mistake, and where it stands."""
    try:
        found: T = _adapter(cast(Hashable, schema)).validate_python(value)
        return found
    except ValidationError as error:
        raise UserError(_says(error)) from None


def records(values: Iterable[Any], schema: type[T], where: str, problems: list[Problem]) -> Iterator[T]:
    """Each value as a record; a value that is none is a problem, named by its number from 0 as in `where`[3]."""
    for number, value in enumerate(values):
        try:
            yield record(value, schema)
        except UserError as error:
            problems.append(Problem(f"{where}[{number}]", str(error), "dropped; correct it", "record-invalid"))


def peek(path: Path) -> Any:
    """What a file holds, to tell formats apart; None where it is not JSON."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError, UserError):
        return None


@cache
def _adapter(schema: Any) -> TypeAdapter[Any]:
    return TypeAdapter(schema)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises UserError: a key that stands twice, of which Python would keep the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, number in Counter(key for key, _ in pairs).items() if number > 1)
        raise UserError(f"the key {twice!r} stands twice in one object: files were merged; keep one of them")
    return found


def _says(error: ValidationError) -> str:
    """The first mistake, and where it stands."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
