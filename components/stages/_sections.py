"""What stands in a study's report, in its order, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.params import Study
from components.publish.report import Picture, Report, Section
from components.publish.results import Result
from components.publish.tables import Table
from components.stages._layout import DEMO


def compose(study: Study, found: list[Result], finding: str, made: dict[str, Table], drawn: dict[str, Path]) -> Report:
    """The report of tables and figures, both by the names of their files."""
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
            f"{search.trials} trials of up to {search.epochs} epochs: {study.experiments[search.experiment].title}.",
            pictures=(Picture(drawn[f"search-{name}"], caption),),
            tables=(made[f"search-{name}"],),
        )
        for name, search in study.searches.items()
        if f"search-{name}" in drawn
    ]


def _origin(study: Study, found: list[Result]) -> Section:
    """Where the figures come from, and how to get them again."""
    records = [record for result in found for record in result.records.values()]
    commits = dict.fromkeys(str(record["git_commit"]) for record in records)
    rows = tuple(
        (what, "; ".join(dict.fromkeys(_words(record[what]) for record in records)))
        for what in ("versions", "hardware")
    )
    table = Table("origin", "What the runs were made with", ("", ""), (("commit", "; ".join(commits)), *rows))
    command = "make demo" if study.study == DEMO else f"dotfield run {study.study}"
    return Section("Origin", "To get all of this again:", tables=(table,), code=f"git checkout COMMIT\n{command}")


def _words(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
