"""JSON that comes from strangers, read into typed records; keys that a record does not name are skipped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from components.crowd import Problem
from components.errors import UserError

T = TypeVar("T")


class Record(BaseModel):
    model_config = ConfigDict(frozen=True)


def load(path: Path, schema: type[T]) -> T:
    """The content of a file. Raises UserError: not JSON, or not what the schema says, and where."""
    try:
        return TypeAdapter(schema).validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(_says(error)) from None


def records(values: Iterable[Any], schema: type[T], where: str, problems: list[Problem]) -> Iterator[T]:
    """Each value as a record; a value that is none is a problem, named by its number from 0 as in `where`[3]."""
    for number, value in enumerate(values):
        try:
            yield TypeAdapter(schema).validate_python(value)
        except ValidationError as error:
            problems.append(Problem(f"{where}[{number}]", _says(error), "dropped; correct it"))


def peek(path: Path) -> Any:
    """What a file holds, to tell formats apart; None where it is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None


def _says(error: ValidationError) -> str:
    """The first mistake, and where it stands."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
