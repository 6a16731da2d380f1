"""Kinds are file names: `{kind: mcnn}` under `counter` is `components/counters/mcnn.py`.

Such a file offers `Params` (its options) and `build(params)`. It may offer `PRESETS`, options by the name of a preset:
what the user writes goes before the preset, the preset before the defaults of `Params`. A data set may offer
`recognise(folder)`, which lists the options of every data set of its kind that a folder seems to be."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from components.params import Choice, Options, check

FAMILIES = {
    "dataset": "datasets",
    "drawn map": "density_maps.drawn",
    "density map": "density_maps.learned",
    "counter": "counters",
}


def kinds(family: str) -> list[str]:
    """Every kind of a family, in alphabetical order."""
    folder = Path(__file__).parent / FAMILIES[family].replace(".", "/")
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def resolve(family: str, choice: Choice, where: str, preset: str = "stable") -> Options:
    """The options of a kind, checked. Raises ValueError: an unknown kind, or what its `Params` refuses."""
    if choice.kind not in kinds(family):
        raise ValueError(f"{where}: there is no {family} {choice.kind!r}; kinds: {', '.join(kinds(family))}")
    module = _module(family, choice.kind)
    return check(module.Params, getattr(module, "PRESETS", {}).get(preset, {}) | choice.options, where)


def build(family: str, kind: str, options: Options, **context: Any) -> Any:
    """The object that a kind makes of its options."""
    return _module(family, kind).build(options, **context)


def recognise(folder: Path) -> list[Choice]:
    """Every data set that a folder seems to be, without its `root`."""
    modules = {kind: _module("dataset", kind) for kind in kinds("dataset")}
    askable = {kind: module.recognise for kind, module in modules.items() if hasattr(module, "recognise")}
    found = [(kind, options) for kind, ask in askable.items() for options in ask(folder)]
    return [Choice.model_validate({"kind": kind} | options) for kind, options in found]


def _module(family: str, kind: str) -> Any:
    return import_module(f"components.{FAMILIES[family]}.{kind}")
