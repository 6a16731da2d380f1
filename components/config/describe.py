"""The options of a kind in words: read off the code, so that they are never out of date."""

from __future__ import annotations

import inspect
import types
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from components.config import plugins
from components.config.options import Choice, Options
from components.config.search import Dimension, Search
from components.config.study import DatasetEntry, Experiment, MapEntry, Publish, Study, Training
from components.errors import UserError

STUDY_SCHEMAS: tuple[type[Options], ...] = (  # the parts of a study.yaml, in the order in which they stand there
    Study,
    DatasetEntry,
    MapEntry,
    Experiment,
    Training,
    Search,
    Dimension,
    Publish,
)
WORDS = {int: "integer", float: "number", bool: "true or false", str: "text", Path: "path", type(None): "null"}
BOUNDS = {"ge": ">= {}", "gt": "> {}", "le": "<= {}", "lt": "< {}"}


class Option(NamedTuple):
    """One option: its name, with a dot where it lies inside another; what it can be; its default in YAML, and that of
    the preset `paper` where it differs; and what it means."""

    name: str
    type: str
    required: bool
    default: str | None
    paper: str | None
    meaning: str


class Kind(NamedTuple):
    """One kind of a family: the first sentences of its file, what the class of its options says, and these."""

    family: str
    kind: str
    summary: str
    notes: str
    options: list[Option]


def find(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """The kinds that are meant by the words [FAMILY] [KIND], each with its family; none: all of them.

    Raises UserError: there is no such family or kind."""
    named = [word.replace("_", " ") for word in words[:1] if word.replace("_", " ") in plugins.FAMILIES]
    families, rest = named or list(plugins.FAMILIES), words[len(named) :]
    every = [(family, kind) for family in families for kind in plugins.kinds(family)]
    found = [(family, kind) for family, kind in every if rest in ((), (kind,))]
    if not found:
        known = "\n".join(f"  {family}: {', '.join(plugins.kinds(family))}" for family in families)
        raise UserError(f"there is no kind or family {' '.join(rest)!r}; kinds by family:\n{known}")
    return found


def describe(family: str, kind: str) -> Kind:
    """A kind with all its options."""
    schema = plugins.options(family, kind)
    source = inspect.getmodule(schema)
    summary = (inspect.getdoc(source) or "").split("\n\n")[0] if source else ""
    notes = inspect.getdoc(schema) if schema.__doc__ else ""
    stable, paper = (plugins.default_options(family, kind, preset) for preset in ("stable", "paper"))
    return Kind(family, kind, _one_line(summary), _one_line(notes or ""), options_of(schema, stable, paper))


def describe_schema(schema: type[Options]) -> list[Option]:
    """The options of a part of a study, in which presets change nothing."""
    values = plugins.defaults(schema)
    return options_of(schema, values, values)


def options_of(
    schema: type[Options], defaults: dict[str, Any], paper: dict[str, Any], start: str = "", outer: str = ""
) -> list[Option]:
    """The options of a schema with their values in two presets. Those inside an option have its name in front, and its
    meaning, `outer`, where they have none of their own."""
    found = []
    for name, field in schema.model_fields.items():
        inner, value, other = field.annotation, defaults.get(name), paper.get(name)
        meaning = _one_line(field.description or outer)
        if isinstance(inner, type) and issubclass(inner, Options) and isinstance(value, dict):
            found += options_of(inner, value, other or {}, f"{start}{name}.", meaning)
            continue
        required = name not in defaults
        written = None if required else _yaml(value)
        differs = None if required or _yaml(other) == written else _yaml(other)
        found.append(Option(f"{start}{name}", _field_type(field), required, written, differs, meaning))
    return found


def _field_type(field: FieldInfo) -> str:
    return " ".join([_type(field.annotation), *_bounds(field.metadata)])


def _bounds(metadata: Any) -> list[str]:
    """The bounds of a number, in the form in which pydantic keeps them."""
    found = [
        text.format(f"{bound:g}")
        for each in metadata
        for name, text in BOUNDS.items()
        if (bound := getattr(each, name, None)) is not None
    ]
    return [", ".join(found)] if found else []


def _type(annotation: Any) -> str:
    """A type in YAML's words."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if annotation in WORDS:
        return WORDS[annotation]
    if origin is Annotated:
        metadata = [
            each for field in inside[1:] for each in (field.metadata if isinstance(field, FieldInfo) else [field])
        ]
        return " ".join([_type(inside[0]), *_bounds(metadata)])
    if origin is Literal:
        return " | ".join(str(each) for each in inside)
    if origin in (Union, types.UnionType):
        return " | ".join(_type(each) for each in inside)
    if origin is tuple:
        return f"list of {_type(inside[0])}" if Ellipsis in inside else f"[{', '.join(map(_type, inside))}]"
    if origin is dict:
        return f"mapping of {_type(inside[0])} to {_type(inside[1])}"
    if annotation is Choice:
        return "a kind and its options"
    return "mapping" if isinstance(annotation, type) and issubclass(annotation, BaseModel) else "anything"


def _yaml(value: Any) -> str:
    """A value as it would be written in a study."""
    plain = value.model_dump() if isinstance(value, BaseModel) else list(value) if isinstance(value, tuple) else value
    plain = str(plain) if isinstance(plain, Path) else plain
    written = yaml.safe_dump(plain, default_flow_style=True, width=1000)
    return written.removesuffix("\n").removesuffix("...").strip()


def _one_line(text: str) -> str:
    return " ".join(text.split())
