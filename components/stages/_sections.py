"""What stands in a study's report, in its order, and in which words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.params import Study
from components.publish.report import Picture, Report, Section
from components.publish.results import Result
from components.publish.tables import Table
from components.stages._layout import DEMO


def compose(
    study: Study, found: list[Result], finding: str, made: dict[str, Table], drawn: dict[str, Path], settings: str
) -> Report:
    """The report of tables and figures, both by the names of their files; `settings` is the text of study.yaml."""
    return Report(
        title=study.title,
        about=f"Study {study.study}: crowd counters trained together with the density maps they learn from.",
        finding=finding,
        sections=(
            _maps(drawn),
            Section("Results", tables=(made["results"], made["comparisons"])),
            Section(
                "Beside the literature", tables=tuple(made[name] for name in ("beside", "published") if name in made)
            ),
            _counts(drawn),
            _training(drawn, made),
            *_searches(study, made, drawn),
            Section("Data", tables=tuple(made[f"data-{name}"] for name in study.datasets)),
            Section("Settings", "The study, as it stands in params.", code=settings),
            _origin(study, found),
        ),
    )


def _maps(drawn: dict[str, Path]) -> Section:
    caption = (
        "A test image and the density maps from which the counters learn, all on one colour scale in people per cell "
        "of the counter's grid; above each map, its sum. First seed; arranged as in figure 4 of Wan & Chan 2019."
    )
    return Section("Density maps", pictures=(Picture(drawn["maps"], caption),))


def _counts(drawn: dict[str, Path]) -> Section:
    scatter = "Counts of the test images: a point for each image and seed. On the dashed line the count is right."
    page = "A sparse, a median and a dense test image, and what each counter predicts (first seed). One scale a row."
    return Section("Predictions", pictures=(Picture(drawn["scatter"], scatter), Picture(drawn["predictions"], page)))


def _training(drawn: dict[str, Path], made: dict[str, Table]) -> Section:
    caption = (
        "Thin lines are seeds, bold ones their mean. Losses of unlike density maps do not measure the same thing: "
        "compare their courses, and the counters by MAE."
    )
    return Section("Training", pictures=(Picture(drawn["curves"], caption),), tables=(made["runs"],))


def _searches(study: Study, made: dict[str, Table], drawn: dict[str, Path]) -> list[Section]:
    """A section for each search that has ended."""
    caption = "Trials in their order, and the smallest validation MAE of each along every dimension of the search."
    return [
        Section(
            f"Search: {name}",
            f"{search.trials} trials of up to {search.epochs} epochs of the experiment {search.experiment}.",
            pictures=(Picture(drawn[f"search-{name}"], caption),),
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
