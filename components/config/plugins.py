"""Kinds are file names: `{kind: mcnn}` under `counter` is `components/counters/mcnn.py`.

Such a file offers `Params` (its options) and `build(params)`. It may offer `PRESETS`, options by the name of a preset:
what the user writes goes before the preset, the preset before the defaults of `Params`. A data set may offer
`recognise(folder)`, which lists the options of every data set of its kind that a folder seems to be; a published one
offers `LAYOUT`, what its folder holds, and `FROM`, who publishes it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from components.config.families import FAMILIES as FAMILIES
from components.config.families import kinds as kinds
from components.config.options import Choice, Options, check
from components.errors import UserError


def resolve(family: str, choice: Choice, where: str, preset: str = "stable") -> Options:
    """The options of a kind, checked. Raises UserError: an unknown kind, or what its `Params` refuses."""
    if choice.kind not in kinds(family):
        raise UserError(f"{where}: there is no {family} {choice.kind!r}; kinds: {', '.join(kinds(family))}")
    values = _merge(default_options(family, choice.kind, preset), choice.options)
    return check(options(family, choice.kind), values, where)


def default_options(family: str, kind: str, preset: str) -> dict[str, Any]:
    """What the options of a kind are where the user writes nothing; without those that have no default."""
    presets = getattr(_module(family, kind), "PRESETS", {})
    return _merge(defaults(options(family, kind)), presets.get(preset, {}))


def options(family: str, kind: str) -> type[Options]:
    """The schema of a kind's options."""
    schema: type[Options] = _module(family, kind).Params
    return schema


def how_to_obtain(kind: str) -> str:
    """What to do about a data set that is absent: what its folder must hold, and who publishes it."""
    module = _module("dataset", kind)
    if not hasattr(module, "FROM"):
        return "set it to the one that holds the data set"
    return f"it must hold {module.LAYOUT}; get the data set from {module.FROM}, or set root to where it lies"


class SplitOrigin(NamedTuple):
    """Whose the splits are that a data set has: "published" or "given", and a sentence where there is more to say."""

    whose: str
    note: str


def split_origin(kind: str) -> SplitOrigin:
    """Whose the splits of a kind of data set are."""
    module = _module("dataset", kind)
    note = getattr(module, "SPLITS", "")
    return SplitOrigin("published" if hasattr(module, "FROM") and not note else "given", note)


def build(family: str, kind: str, options: Options, **context: Any) -> Any:
    """The object that a kind makes of its options."""
    return _module(family, kind).build(options, **context)


def recognise(folder: Path) -> list[Choice]:
    """Every data set that a folder seems to be, without its `root`."""
    modules = {kind: _module("dataset", kind) for kind in kinds("dataset")}
    recognisers = {kind: module.recognise for kind, module in modules.items() if hasattr(module, "recognise")}
    found = [(kind, options) for kind, recognise in recognisers.items() for options in recognise(folder)]
    return [Choice.model_validate({"kind": kind} | options) for kind, options in found]


def defaults(schema: type[Options]) -> dict[str, Any]:
    """The options of a schema that have a default, in plain values."""
    return {
        name: field.default.model_dump() if isinstance(field.default, Options) else field.default
        for name, field in schema.model_fields.items()
        if not field.is_required()
    }


def _merge(*layers: dict[str, Any]) -> dict[str, Any]:
    """Merge options, later ones first, key by key, also inside sets such as `optimiser`."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = merged.get(key)
            merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _module(family: str, kind: str) -> Any:
    return import_module(f"components.{FAMILIES[family]}.{kind}")
