"""The settings of a study's entries, each in a file of its own: written by the stage `resolve`, read by all others."""

from __future__ import annotations

import shutil

import yaml

from components.config.load import read_entry, settings
from components.config.resolve import Plan, resolve
from components.config.study import TESTING, Experiment, MapEntry, Study
from components.workspace.layout import Layout


def write_settings(study: Study, layout: Layout) -> dict[str, int]:
    """Write `settings/FAMILY/ENTRY.yaml` for each family of `components.config.load.settings`; the number of entries.

    Words that change no number, such as titles, are left out: an entry's file changes only when its results may. All
    that the study says of them, without defaults, also stands in one file, which no stage reads: the pipeline names it
    as its `params`."""
    shutil.rmtree(layout.all_settings, ignore_errors=True)
    families = settings(study)
    layout.all_settings.mkdir(parents=True)
    layout.resolved_params.write_text(yaml.safe_dump(settings(study, defaults=False), sort_keys=True))
    for family, entries in families.items():
        for name, values in entries.items():
            file = layout.settings(family, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(yaml.safe_dump(values, sort_keys=True))
    return {family: len(entries) for family, entries in families.items() if family != TESTING}


def read_experiment(layout: Layout, name: str) -> Experiment:
    """Raises UserError where there is no such experiment."""
    return read_entry(Experiment, layout.settings("experiments", name), title=name)


def plan_of(layout: Layout, name: str) -> Plan:
    """The plan of an experiment. Raises UserError: see `components.config.resolve.resolve`."""
    experiment = read_experiment(layout, name)
    kernel = read_entry(MapEntry, layout.settings("maps", experiment.annotation)).kernel
    return resolve(experiment, kernel, layout.study, name, f"{layout.params}: experiments.{name}")


def plan_of_seed(layout: Layout, name: str, seed: int) -> Plan:
    """The plan of one run. A `density_map.run` that names an experiment of the study becomes the folder of the run of
    that experiment with the same seed."""
    plan = plan_of(layout, name)
    source = plan.density_map.plain().get("run")
    if source is None or not layout.settings("experiments", source).exists():
        return plan
    run = str(layout.run(source, seed).folder)
    return plan.with_values({"density_map.run": run}, f"{layout.params}: experiments.{name}")
