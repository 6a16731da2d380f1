"""Reading studies: `study.yaml` with all that it extends, and the settings of single entries.

`extends: STUDY` takes over what another study says: see `merge` in `study.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from components.config import yaml_text
from components.config.options import NAME, Options, check
from components.config.study import TESTING, WORDS, Defaults, Study, merge
from components.errors import UserError

Entry = TypeVar("Entry", bound=Options)


def load_study(path: Path) -> Study:
    """Read and check a `study.yaml` and all that it extends; a study that is extended must be right by itself.

    Raises UserError, which names the file in which the mistake is, and the key."""
    values: dict[str, Any] = {}
    for file, own in reversed(_read_chain(path)):
        inherited = {key: value for key, value in values.items() if key not in ("study", "title", "extends")}
        values = merge(inherited, own, null_removes=True)
        check(Defaults, {key: values[key] for key in Defaults.model_fields if key in values}, str(file))
        study = check(Study, values, str(file))
    return study


def load_options(schema: type[Entry], path: Path) -> Entry:
    """A file of options that is no study, such as `params/retrain.yaml`.

    Raises UserError: there is no such file, it is not YAML, or not what `schema` allows."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return check(schema, _read_mapping(path), str(path))


def study_files(path: Path) -> list[Path]:
    """A `study.yaml` and the files of all studies that it extends, nearest first.

    Raises UserError for a file that is absent or not YAML, and for studies that extend one another in a circle."""
    return [file for file, _ in _read_chain(path)]


def settings(study: Study, *, defaults: bool = True) -> dict[str, dict[str, dict[str, Any]]]:
    """Plain data of all that changes the numbers of each entry: `settings(study)[family][name]`, where the families are
    datasets, maps, experiments, averaging (how each experiment's runs are tested) and searches.

    `defaults`: whether those of the schema are filled in; those of kinds are not. An experiment's title and the
    published row beside which it is shown are left out."""
    families: dict[str, Mapping[str, Options]] = {
        "datasets": study.datasets,
        "maps": study.maps,
        "experiments": study.experiments,
        "averaging": {name: each.averaging for name, each in study.experiments.items()},
        "searches": study.searches,
    }
    return {
        family: {
            name: entry.model_dump(mode="json", exclude=WORDS | {TESTING}, exclude_defaults=not defaults)
            for name, entry in entries.items()
        }
        for family, entries in families.items()
    }


def read_entry(schema: type[Entry], file: Path, **words: str) -> Entry:
    """One entry of `settings`, from the YAML file to which the stage `resolve` wrote it. `words` are keys that
    `settings` leaves out, such as an experiment's `title`.

    Raises UserError where there is no such file, or where it is not what `schema` allows."""
    try:
        values = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; run the stage resolve first") from None
    return check(schema, {**values, **words}, str(file))


def _read_chain(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """A study and all that it extends, nearest first: each file with the values that stand in it."""
    chain = [(path, _read_mapping(path))]
    while (name := chain[-1][1].get("extends")) is not None:
        file = path.parents[1] / str(name) / path.name
        where = f"{chain[-1][0]}: extends"
        if not re.fullmatch(NAME, str(name)) or not file.is_file():
            raise UserError(f"{where}: there is no study {name!r} ({file}); `dotfield studies` lists the studies")
        if file in [earlier for earlier, _ in chain]:
            raise UserError(f"{where}: {file} extends this study in turn; remove one `extends`")
        chain.append((file, _read_mapping(file)))
    return chain


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        values = yaml_text.parse(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dotfield studies` lists the studies") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not YAML: {error}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: must be a mapping of keys, not {type(values).__name__}")
    return values
