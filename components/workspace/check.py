"""Every mistake of a study that can be found without its data, before hours are spent on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from components.config import plugins
from components.config.resolve import check_loss, plan, training_options, with_values
from components.config.study import Search, Study
from components.errors import UserError
from components.publish import published


def mistakes(study: Study, file: str) -> list[str]:
    """What is wrong, a line each, with the file and the key."""
    return [f"{file}: {line}" for said in _all(study) for line in said.splitlines()]


def _all(study: Study) -> Iterator[str]:
    for name, entry in study.datasets.items():
        yield from _said(plugins.resolve, "dataset", entry.source, f"datasets.{name}.source")
    for name, drawn in study.maps.items():
        yield from _said(plugins.resolve, "drawn map", drawn.kernel, f"maps.{name}.kernel")
    wrong = {name: [*_experiment(study, name)] for name in study.experiments}
    for lines in wrong.values():
        yield from lines
    for name, search in study.searches.items():
        if not wrong[search.experiment]:
            yield from _said(_check_search, study, name, search)
    if study.publish.published:
        yield from _said(published.section, study.publish.published)


def _experiment(study: Study, name: str) -> Iterator[str]:
    experiment, where = study.experiments[name], f"experiments.{name}"
    for family, choice in (("counter", experiment.counter), ("density map", experiment.density_map)):
        key = family.replace(" ", "_")
        yield from _said(plugins.resolve, family, choice, f"{where}.{key}", experiment.preset)
    yield from _said(check_loss, experiment, where)
    yield from _said(training_options, study, experiment, f"{where}.training")
    yield from _said(_check_published, study, name)


def _check_search(study: Study, name: str, search: Search) -> None:
    base = plan(study, search.experiment)
    for key, dimension in search.space.items():
        for value in dimension.examples():
            with_values(base, {key: value}, f"searches.{name}.space")


def _check_published(study: Study, name: str) -> None:
    key = study.experiments[name].published
    keys = {row.key for row in published.rows()}
    if key and key not in keys:
        raise UserError(
            f"experiments.{name}.published: there is no row {key!r}; rows: {', '.join(sorted(keys - {''}))}"
        )


def _said(check: Callable[..., Any], *arguments: Any) -> Iterator[str]:
    """What a check says is wrong, or nothing."""
    try:
        check(*arguments)
    except UserError as error:
        yield str(error)
