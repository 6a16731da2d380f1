"""What stands in a study's report, in its order, and in which words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from components.params import Study
from components.publish.report import Picture, Report, Section
from components.publish.results import Result
from components.publish.tables import Table
from components.stages._layout import DEMO


def compose(
    study: Study, found: list[Result], finding: str, made: dict[str, Table], drawn: dict[str, Picture], settings: str
) -> Report:
    """The report of tables and pictures, both by the names of their files; `settings` is the text of study.yaml."""
    return Report(
        title=study.title,
        about=f"Study {study.study}: crowd counters trained together with the density maps they learn from.",
        finding=finding,
        sections=(
            *_maps(drawn),
            Section(
                "Results", tables=tuple(made[name] for name in ("results", "scenes", "comparisons") if name in made)
            ),
            Section(
                "Beside the literature", tables=tuple(made[name] for name in ("beside", "published") if name in made)
            ),
            Section("Predictions", pictures=(drawn["scatter"], drawn["predictions"])),
            Section("Training", pictures=(drawn["curves"],), tables=(made["runs"],)),
            *_searches(study, made, drawn),
            Section("Data", tables=tuple(made[f"data-{name}"] for name in study.datasets)),
            Section("Settings", "The study, as it stands in params.", code=settings),
            _origin(study, found),
        ),
    )


def _maps(drawn: dict[str, Picture]) -> list[Section]:
    """Nothing where every counter learns from dots alone."""
    pictures = tuple(drawn[name] for name in ("maps", "generators", "kernels", "attention") if name in drawn)
    return [Section("Density maps", pictures=pictures)] if pictures else []


def _searches(study: Study, made: dict[str, Table], drawn: dict[str, Picture]) -> list[Section]:
    """A section for each search that has ended."""
    return [
        Section(
            f"Search: {name}",
            f"{search.trials} trials of up to {search.epochs} epochs of the experiment {search.experiment}.",
            pictures=(drawn[f"search-{name}"],),
            tables=(made[f"search-{name}"],),
        )
        for name, search in study.searches.items()
        if f"search-{name}" in drawn
    ]


def _origin(study: Study, found: list[Result]) -> Section:
    """What the runs were made with, and how to make them again."""
    records = [record for result in found for record in result.records.values()]
    rows = (
        ("commit", _each(records, lambda record: record["git_commit"] or "not under Git")),
        ("data", _each(records, lambda record: f"SHA-256 {record['data_sha256'][:16]}")),
        ("versions", _each(records, lambda record: ", ".join(" ".join(each) for each in record["versions"].items()))),
        ("machine", _each(records, lambda record: _machine(record["hardware"]))),
    )
    table = Table("origin", "What the runs were made with", ("What", "Which"), rows)
    return Section(
        "Origin", tables=(table,), code="make demo" if study.study == DEMO else f"dotfield run {study.study}"
    )


def _each(records: list[Mapping[str, Any]], say: Callable[[Mapping[str, Any]], str]) -> str:
    """What the records say, each thing once."""
    return "; ".join(dict.fromkeys(say(record) for record in records))


def _machine(hardware: Mapping[str, Any]) -> str:
    gpus = ", ".join(hardware["gpus"]) or "no GPU"
    return f"{hardware['machine']}, {hardware['cpus']} CPUs, {hardware['memory_gib']} GiB, {gpus}"
