"""What stands in a study's report, in its order, and in which words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.config.study import Study
from components.publish.report import Picture, Report, Section
from components.publish.results import Result
from components.publish.tables import Table
from components.workspace.layout import DEMO


def compose(
    study: Study, found: list[Result], finding: str, made: dict[str, Table], drawn: dict[str, Picture], settings: str
) -> Report:
    """The report of tables and pictures, both by the names of their files; `settings` is the text of study.yaml."""

    def section(title: str, tables: Sequence[str] = (), pictures: Sequence[str] = ()) -> list[Section]:
        """What there is of these; nothing where there is none of them."""
        of_tables = tuple(made[name] for name in tables if name in made)
        of_pictures = tuple(drawn[name] for name in pictures if name in drawn)
        return [Section(title, tables=of_tables, pictures=of_pictures)] if of_tables or of_pictures else []

    return Report(
        title=study.title,
        about=f"Study {study.study}: crowd counters trained together with the density maps they learn from.",
        finding=finding,
        sections=(
            *section("Density maps", pictures=("maps", "generators", "kernels", "attention")),
            *section("Results", tables=("results", "scenes", "comparisons")),
            *section("Beside the literature", tables=("beside", "published")),
            *section("The paper's tables", tables=tuple(f"table-{n}" for n in study.publish.tables)),
            *section("Predictions", pictures=("scatter", "predictions")),
            *section("Training", pictures=("curves",), tables=("runs",)),
            *_searches(study, made, drawn),
            *section("Data", tables=tuple(f"data-{name}" for name in study.datasets)),
            Section("Settings", "The study, as it stands in params.", code=settings),
            _origin(study, found),
        ),
    )


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
        ("precision", _each(records, _precision)),
        ("machine", _each(records, lambda record: _machine(record["hardware"]))),
    )
    table = Table("origin", "What the runs were made with", ("What", "Which"), rows)
    return Section(
        "Origin",
        tables=(table,) if records else (),
        code="make demo" if study.study == DEMO else f"dotfield run {study.study}",
    )


def _each(records: list[Mapping[str, Any]], say: Callable[[Mapping[str, Any]], str]) -> str:
    """What the records say, each thing once."""
    return "; ".join(dict.fromkeys(say(record) for record in records))


def _precision(record: Mapping[str, Any]) -> str:
    return "fp32" if record["precision"] == "fp32" else f"the maps of {record['experiment']} in {record['precision']}"


def _machine(hardware: Mapping[str, Any]) -> str:
    gpus = ", ".join(hardware["gpus"]) or "no GPU"
    return f"{hardware['machine']}, {hardware['cpus']} CPUs, {hardware['memory_gib']} GiB, {gpus}"
