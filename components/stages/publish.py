"""Tables, figures and the report of a study: `python -m components.stages.publish STUDY`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.evaluation import scored
from components.evaluation.metrics import Difference, estimate
from components.params import Study
from components.publish import charts, contents, figures, report, results, tables
from components.publish.report import Picture
from components.publish.results import Result
from components.publish.tables import Table
from components.stages import _figures
from components.stages._command import run
from components.stages._layout import Layout
from components.stages._sections import compose

SCATTER = "Counts of the test images: a point for each image and seed. On the dashed line the count is right."
CURVES = (
    "Thin lines are seeds, bold ones their mean. Losses of unlike density maps do not measure the same thing: "
    "compare their courses, and the counters by MAE."
)
TRIALS = "Trials in their order, and the smallest validation MAE of each along every dimension of the search."
PRINTED = ("Experiment", "MAE", "RMSE", "NAE", "GAME(1)", "GAME(2)", "GAME(3)")


def publish(study: Study, layout: Layout) -> None:
    """Write `published/`, and print where it is."""
    found = [measured(study, layout, name) for name in study.experiments]
    pools = [results.pooled(found, *pool, study.publish.bootstrap) for pool in study.publish.pooled.items()]
    differences = results.differences([*found, *pools], study.publish.baseline, study.publish.bootstrap)
    made = tabulate(study, layout, found, pools, differences)
    for table in made.values():
        tables.write(table, layout.published / "tables")
    finding = results.summary([*found, *pools], study.publish.baseline, differences)
    drawn = draw(study, layout, found)
    report.write(compose(study, found, finding, made, drawn, layout.params.read_text()), layout.report)
    plain = tables.plain(made["results"].choose(*PRINTED))
    layout.summary.write_text(f"{plain}\n\nreport: {layout.report}\ntables: {layout.results.parent}\n")
    print(f"{study.title}: {layout.report}, {layout.results}")


def measured(study: Study, layout: Layout, name: str) -> Result:
    """What was measured of one experiment. Raises ValueError where it was not evaluated."""
    if not layout.scores(name).exists():
        raise ValueError(f"{layout.scores(name)}: is not there; run `dotfield run {study.study}` to its end first")
    scores, experiment = scored.read(layout.scores(name)), study.experiments[name]
    return Result(
        name=name,
        experiment=experiment,
        density_map=results.describe_map(study, experiment),
        records={seed: _json(layout.run(name, seed) / "manifest.json") for seed in scores.seeds},
        scored=scores,
        metrics=estimate(scores, study.publish.bootstrap),
    )


def tabulate(
    study: Study, layout: Layout, found: list[Result], pools: list[Result], differences: dict[str, Difference]
) -> dict[str, Table]:
    """Every table of the study, by the name of its files."""
    wanted, times = study.publish, study.publish.bootstrap
    made = [
        contents.results([*pools, *found], times),
        *([contents.scenes(found, times)] if len({name for each in found for name in each.scored.scenes}) > 1 else []),
        contents.beside(found, wanted.published),
        contents.comparisons([*pools, *found], wanted.baseline, differences, times),
        *([contents.others(found, wanted.published)] if wanted.published else []),
        contents.runs(found),
        *(contents.search(name, layout.search(name) / "trials.parquet") for name in _searched(study, layout)),
        *(contents.data(name, _json(layout.prepared(name) / "report.json")) for name in study.datasets),
    ]
    return {table.name: table for table in made}


def draw(study: Study, layout: Layout, found: list[Result]) -> dict[str, Picture]:
    """Every picture of the study, by name."""
    folder, searched = layout.published / "figures", _searched(study, layout)
    drawn = _figures.draw(study, layout, found, folder)
    charts.scatter({result.title: result.scored for result in found}, folder / "scatter.png")
    metrics = {
        result.title: [layout.run(result.name, s) / "metrics.csv" for s in result.scored.seeds] for result in found
    }
    figures.compare_curves(metrics, folder / "curves.png")
    for name in searched:
        charts.search(layout.search(name) / "trials.parquet", folder / f"search-{name}.png")
    captions = {"scatter": SCATTER, "curves": CURVES} | {f"search-{name}": TRIALS for name in searched}
    return drawn | {name: Picture(folder / f"{name}.png", caption) for name, caption in captions.items()}


def _searched(study: Study, layout: Layout) -> list[str]:
    """The searches that have ended: published by hand, a report need not wait for them."""
    return [name for name in study.searches if (layout.search(name) / "trials.parquet").exists()]


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: is damaged ({error}); remove its folder and run the stage that writes it") from None


if __name__ == "__main__":
    run(publish, "study")
