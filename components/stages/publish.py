"""Tables, figures and the report of a study: `python -m components.stages.publish STUDY`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.config.study import Study
from components.errors import UserError
from components.evaluation import scores as scored
from components.evaluation.metrics import Difference, estimate
from components.publish import charts, contents, figures, pages, report, results, tables
from components.publish.paper_tables import paper_table
from components.publish.report import Picture
from components.publish.results import Asked, Result
from components.publish.sections import compose
from components.publish.tables import Table
from components.runs import folder as runs
from components.runs.provenance import of_seed
from components.workspace.layout import Layout
from components.workspace.processes import run

SCATTER = "Counts of the test images: a point for each image and seed. On the dashed line the count is right."
CURVES = (
    "Thin lines are seeds, bold ones their mean. Losses of unlike density maps do not measure the same thing: "
    "compare their courses, and the counters by MAE."
)
TRIALS = "Trials in their order, and the smallest validation MAE of each along every dimension of the search."
PRINTED = ("Experiment", "MAE", "RMSE", "NAE", "GAME(1)", "GAME(2)", "GAME(3)")


def publish(study: Study, layout: Layout) -> None:
    """Write `published/`, and print where it is. Raises UserError for a study half run."""
    asked = [look(study, layout, name) for name in study.experiments]
    if missing := results.not_run(asked):
        raise UserError(
            f"{layout.out}: {missing[0]} Run `dotfield run {study.study}` to its end first, or publish what there is "
            f"with `dotfield publish {study.study}`"
        )
    write(study, layout, asked)


def write(study: Study, layout: Layout, asked: list[Asked]) -> None:
    """Every table, picture and the report, with what was measured of these experiments."""
    pools = [results.pooled(asked, *pool, study.publish.bootstrap) for pool in study.publish.pooled.items()]
    rows, found = [*pools, *asked], results.measured(asked)
    differences = results.differences(results.measured(rows), study.publish.baseline, study.publish.bootstrap)
    made = tabulate(study, layout, asked, pools, differences)
    for table in made.values():
        tables.write(table, layout.published / "tables")
    finding = results.summary(rows, study.publish.baseline, differences)
    drawn = draw(study, layout, found) if found else {}
    report.write(compose(study, found, finding, made, drawn, layout.params.read_text()), layout.report)
    places = f"report: {layout.report}\ntables: {layout.results.parent}\n"
    plain = tables.plain(made["results"].choose(*PRINTED))
    layout.summary.write_text("\n\n".join([plain, *results.not_run(asked), places]))
    print(f"{study.title}: {layout.report}, {layout.results}")


def look(study: Study, layout: Layout, name: str) -> Asked:
    """An experiment with what was measured of it, if it was run to its end as the study asks for it now."""
    experiment = study.experiments[name]
    asked = Asked(name, experiment, results.describe_map(study, experiment))
    records = {seed: layout.run(name, seed) / "manifest.json" for seed in experiment.seeds}
    ended = all(file.exists() for file in (layout.scores(name), *records.values()))
    if not ended or not all(_as_asked(study, layout, name, seed) for seed in experiment.seeds):
        return asked
    scores = scored.read(layout.scores(name))
    if scores.seeds != tuple(sorted(experiment.seeds)):
        return asked
    return Result(
        name=name,
        experiment=experiment,
        density_map=asked.density_map,
        records={seed: _json(records[seed]) for seed in scores.seeds},
        scored=scores,
        metrics=estimate(scores, study.publish.bootstrap),
    )


def tabulate(
    study: Study, layout: Layout, asked: list[Asked], pools: list[Asked], differences: dict[str, Difference]
) -> dict[str, Table]:
    """Every table of the study, by the name of its files."""
    wanted, times, found = study.publish, study.publish.bootstrap, results.measured(asked)
    of_scenes = [each for each in found if len(set(each.scored.scenes)) > 1]
    prepared = {name: layout.prepared(name) / "report.json" for name in study.datasets}
    compared = {wanted.baseline: differences} | {
        base: results.differences([each for each in found if each.name in (base, *names)], base, times)
        for base, names in wanted.compared.items()
    }
    made = [
        contents.results(pools, asked, times),
        *([contents.scenes(of_scenes, times)] if of_scenes else []),
        contents.beside(asked, wanted.published),
        *(paper_table(number, study, asked, times) for number in wanted.tables),
        *([contents.comparisons([*pools, *asked], compared, times)] if any(compared.values()) else []),
        *([contents.others(asked, wanted.published)] if wanted.published else []),
        *([contents.runs(found)] if found else []),
        *(contents.search(name, layout.search(name) / "trials.parquet") for name in _searched(study, layout)),
        *(contents.data(name, _json(file)) for name, file in prepared.items() if file.exists()),
    ]
    return {table.name: table for table in made}


def draw(study: Study, layout: Layout, found: list[Result]) -> dict[str, Picture]:
    """Every picture of the study, by name."""
    folder, searched = layout.published / "figures", _searched(study, layout)
    drawn = pages.draw(study, layout, found, folder)
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


def _as_asked(study: Study, layout: Layout, name: str, seed: int) -> bool:
    """Whether a run was made with the options that the study has now: published by hand, it may have changed since."""
    made, asked = runs.options(layout.run(name, seed)), of_seed(study, layout, name, seed).model_dump(mode="json")
    return made is not None and made | {"title": None} == asked | {"title": None}


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: is damaged ({error}); remove its folder and run the stage that writes it") from None


if __name__ == "__main__":
    run(publish, "study")
