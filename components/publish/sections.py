"""The sections of a study's report, in their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.config.study import Study
from components.publish.report import Picture, Report, Section
from components.publish.results import EvaluatedRow
from components.publish.tables import Table
from components.workspace.layout import DEMO


def compose_report(
    study: Study,
    rows: Sequence[EvaluatedRow],
    findings: str,
    tables: Mapping[str, Table],
    pictures: Mapping[str, Picture],
    worst: Section | None,
    study_yaml: str,
) -> Report:
    """The report of tables and pictures, both by the names of their files; `worst` has the images with the largest
    errors, `study_yaml` is the text of study.yaml."""

    def section(title: str, of_tables: Sequence[str] = (), of_pictures: Sequence[str] = ()) -> list[Section]:
        """A section with those that there are; nothing where there is none of them."""
        shown_tables = tuple(tables[name] for name in of_tables if name in tables)
        shown_pictures = tuple(pictures[name] for name in of_pictures if name in pictures)
        return [Section(title, tables=shown_tables, pictures=shown_pictures)] if shown_tables or shown_pictures else []

    return Report(
        title=study.title,
        about=f"Study {study.study}: crowd counters trained together with the density maps they learn from.",
        finding=findings,
        sections=(
            *section("Density maps", of_pictures=("maps", "generators", "kernels", "attention")),
            *section("Results", of_tables=("results", "scenes", "comparisons")),
            *section("Compared with published results", of_tables=("published-comparison", "published")),
            *section("The paper's tables", of_tables=tuple(f"table-{n}" for n in study.publish.tables)),
            *section("Predictions", of_pictures=("scatter", "errors", "predictions")),
            *([worst] if worst else []),
            *section("Training", of_pictures=("curves",), of_tables=("runs",)),
            *_searches(study, tables, pictures),
            *section("Data", of_tables=tuple(f"data-{name}" for name in study.datasets)),
            Section("Settings", "The study, as it stands in params.", code=study_yaml),
            _provenance(study, rows),
        ),
    )


def _searches(study: Study, tables: Mapping[str, Table], pictures: Mapping[str, Picture]) -> list[Section]:
    """One section per search that has ended."""
    return [
        Section(
            f"Search: {name}",
            f"{search.trials} trials of up to {search.epochs} epochs of the experiment {search.experiment}.",
            pictures=(pictures[f"search-{name}"],),
            tables=(tables[f"search-{name}"],),
        )
        for name, search in study.searches.items()
        if f"search-{name}" in pictures
    ]


def _provenance(study: Study, rows: Sequence[EvaluatedRow]) -> Section:
    """What the runs were made with, and how to make them again."""
    records = [record["provenance"] | {"experiment": row.title} for row in rows for record in row.records.values()]
    cells = (
        ("commit", _distinct(records, _commit)),
        ("data", _distinct(records, lambda record: f"SHA-256 {record['data_sha256'][:16]}")),
        ("versions", _distinct(records, lambda record: ", ".join(" ".join(x) for x in record["versions"].items()))),
        ("precision", _distinct(records, _precision)),
        ("machine", _distinct(records, lambda record: _machine(record["hardware"]))),
    )
    table = Table("provenance", "What the runs were made with", ("What", "Which"), cells)
    code = "make demo" if study.study == DEMO else f"dotfield run {study.study}"
    return Section("Provenance", tables=(table,) if records else (), code=code)


def _distinct(records: list[dict[str, Any]], describe: Callable[[Mapping[str, Any]], str]) -> str:
    """What the records say, each thing once."""
    return "; ".join(dict.fromkeys(describe(record) for record in records))


def _commit(record: Mapping[str, Any]) -> str:
    if record["git_commit"] is None:
        return "not under Git"
    return f"{record['git_commit']}{' and uncommitted changes' if record['git_dirty'] else ''}"


def _precision(record: Mapping[str, Any]) -> str:
    return "fp32" if record["precision"] == "fp32" else f"the maps of {record['experiment']} in {record['precision']}"


def _machine(hardware: Mapping[str, Any]) -> str:
    gpus = ", ".join(hardware["gpus"]) or "no GPU"
    return f"{hardware['machine']}, {hardware['cpus']} CPUs, {hardware['memory_gib']} GiB, {gpus}"
