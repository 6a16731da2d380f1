"""Writing the best values of a search into study.yaml, comments and all else kept."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML

from components.config.load import load_study
from components.config.resolve import resolve
from components.config.study import Study
from components.errors import UserError, one_line
from components.workspace.atomic import write_atomically
from components.workspace.layout import Layout


def apply_search(layout: Layout, search: str) -> dict[str, Any]:
    """Set the keys of the search's best trial in the experiment that was searched; the values, by dotted key.

    Raises UserError: there is no such search, it has not ended, or the file cannot be changed so that nothing but this
    experiment changes (then it stays as it was)."""
    study, best = _read(layout, search)
    values: dict[str, Any] = best["values"]
    _write(layout, study, best["experiment"], set_keys(layout.params.read_text(), best["experiment"], values))
    return values


def add_searched(layout: Layout, search: str) -> str:
    """Write the experiment that was searched, with the best values, as one of its own: `<search>-searched`, which is
    returned. One of an earlier search is replaced. It is written whole, since what it came from may stand in a study
    that is extended. Raises UserError: see `apply_search`."""
    study, best = _read(layout, search)
    name, searched = f"{search}-searched", study.experiments[best["experiment"]]
    whole = searched.model_dump(mode="json", exclude={"published"})
    whole["title"] = f"{searched.title}, best of search {search}"
    _write(layout, study, name, set_keys(layout.params.read_text(), name, best["values"], whole))
    return name


def set_keys(text: str, experiment: str, values: dict[str, Any], start: dict[str, Any] | None = None) -> str:
    """The text of a study.yaml in which dotted keys of an experiment have these values; the experiment is first
    replaced by `start`, if given."""
    editor = YAML()
    editor.width, editor.preserve_quotes = 4096, True
    study = editor.load(text)
    if start is not None:
        study.setdefault("experiments", {})[experiment] = start
    for key, value in values.items():
        *path, last = ("experiments", experiment, *key.split("."))
        node = study
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    written = io.StringIO()
    editor.dump(study, written)
    return written.getvalue()


def _read(layout: Layout, search: str) -> tuple[Study, dict[str, Any]]:
    study, paths = load_study(layout.params), layout.search(search)
    if search not in study.searches:
        raise UserError(f"{layout.params}: there is no search {search!r}; searches: {', '.join(study.searches) or '-'}")
    if not paths.best.exists():
        raise UserError(f"{paths.best}: there is no such file: the search has not ended; run `dotfield run` first")
    try:
        best: dict[str, Any] = yaml.safe_load(paths.best.read_text())
        experiment, values = best["experiment"], best["values"]
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise UserError(f"{paths.best}: is damaged ({one_line(error)}); run the search again") from None
    if experiment not in study.experiments or not isinstance(values, dict):
        raise UserError(f"{paths.best}: names no experiment of {layout.params}; run the search again")
    return study, best


def _write(layout: Layout, before: Study, experiment: str, text: str) -> None:
    """Raises UserError, and leaves the file as it was, where more than this experiment would change, or to a value that
    is not allowed."""
    old = layout.params.read_text()
    write_atomically(layout.params, text.encode())
    try:
        after = load_study(layout.params)
        _check_unchanged(before, after, experiment, layout.params)
        written, where = after.experiments[experiment], f"{layout.params}: experiments.{experiment}"
        resolve(written, after.maps[written.annotation].kernel, after.study, experiment, where)
    except UserError:
        write_atomically(layout.params, old.encode())
        raise


def _check_unchanged(before: Study, after: Study, experiment: str, file: Path) -> None:
    for name, each in after.experiments.items():
        if name != experiment and each != before.experiments.get(name):
            raise UserError(
                f"{file}: {experiment} shares its mapping with {name} by a YAML alias, so that both would "
                "change; write it out, or set the values by hand"
            )
