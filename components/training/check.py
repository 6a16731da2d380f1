"""Every mistake of a study that can be found without its data, before hours are spent on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from components.config import plugins
from components.config.resolve import Kind, Plan, check_loss, resolve, training_options
from components.config.search import Search
from components.config.study import Study
from components.errors import UserError
from components.training.assemble import assemble, check_crop
from components.workspace.layout import OUT


def find_mistakes(study: Study, file: str, published_keys: set[str], published_sections: set[str]) -> list[str]:
    """Every mistake of a study, a line each, which names `file` and the key.

    `published_keys` and `published_sections` are those of the published figures: what `published` of an experiment, and
    of the study's `publish`, may be."""
    maps = {name: [*_check_map(study, name)] for name in study.maps}
    experiments = {name: [*_check_experiment(study, name, published_keys)] for name in study.experiments}
    for name, experiment in study.experiments.items():
        if not experiments[name] and not maps[experiment.annotation]:
            experiments[name] += _mistakes(_check_networks, study, name)
    mistakes = [text for texts in (_check_datasets(study), *maps.values(), *experiments.values()) for text in texts]
    for name, search in study.searches.items():
        if not experiments[search.experiment] and not maps[study.experiments[search.experiment].annotation]:
            mistakes += _mistakes(_check_search, study, name, search)
    section = study.publish.published
    if section and section not in published_sections:
        mistakes.append(f"publish.published: there is no section {section!r}; sections: {_listed(published_sections)}")
    return [f"{file}: {line}" for text in dict.fromkeys(mistakes) for line in text.splitlines()]


def _check_datasets(study: Study) -> Iterator[str]:
    for name, entry in study.datasets.items():
        yield from _mistakes(plugins.resolve, "dataset", entry.source, f"datasets.{name}.source")


def _check_map(study: Study, name: str) -> Iterator[str]:
    yield from _mistakes(plugins.resolve, "drawn map", study.maps[name].kernel, f"maps.{name}.kernel")


def _check_experiment(study: Study, name: str, published_keys: set[str]) -> Iterator[str]:
    """A counter that is the study's own is named as such: every experiment has the same mistake in it."""
    experiment, where = study.experiments[name], f"experiments.{name}"
    choices = {
        "counter": ("counter" if experiment.counter == study.counter else f"{where}.counter", experiment.counter),
        "density map": (f"{where}.density_map", experiment.density_map),
        "loss": (f"{where}.loss", experiment.loss),
    }
    wrong = {
        family: [*_mistakes(plugins.resolve, family, choice, place, experiment.preset)]
        for family, (place, choice) in choices.items()
    }
    for texts in wrong.values():
        yield from texts
    if not wrong["loss"]:
        loss = Kind(experiment.loss.kind, plugins.resolve("loss", experiment.loss, where, experiment.preset))
        yield from _mistakes(check_loss, loss, experiment.density_map.kind, where)
    yield from _mistakes(training_options, experiment, f"{where}.training")
    key = experiment.published
    if key and key not in published_keys:
        yield f"{where}.published: there is no row {key!r}; rows: {_listed(published_keys)}"


def _check_networks(study: Study, name: str) -> None:
    """Raises UserError where a file that an experiment names is not there, or where its counter, density map, loss and
    crop do not go together. Those that start from what another run makes are not checked before that is there."""
    plan, where = _plan(study, name), f"experiments.{name}"
    missing = [file for file in plan.named_files() if not file.exists()]
    for file in missing:
        if not file.is_relative_to(OUT) and str(file) not in study.experiments:
            raise UserError(f"{where}: {file} does not exist")
    if missing:
        return
    try:
        check_crop(plan.training, assemble(plan, seed=0).stride)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _check_search(study: Study, name: str, search: Search) -> None:
    """Raises UserError where a value that the search may draw is not allowed."""
    plan = _plan(study, search.experiment)
    for key, dimension in search.space.items():
        for value in dimension.examples():
            plan.with_values({key: value}, f"searches.{name}.space")


def _plan(study: Study, name: str) -> Plan:
    experiment = study.experiments[name]
    kernel = study.maps[experiment.annotation].kernel
    return resolve(experiment, kernel, study.study, name, f"experiments.{name}")


def _mistakes(check: Callable[..., Any], *arguments: Any) -> Iterator[str]:
    """What a check says is wrong: nothing, or the text of its UserError."""
    try:
        check(*arguments)
    except UserError as error:
        yield str(error)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(filter(None, names)))
