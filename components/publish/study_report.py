"""All that is published of a study: tables, figures, report and summary, from the runs and scores that there are."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from components.config.resolve import Plan, resolve
from components.config.study import Study
from components.data.manifest import Prepared
from components.errors import UserError
from components.evaluation.metrics import all_metrics
from components.evaluation.scores import read_cost, read_scores
from components.evaluation.statistics import Difference, estimate
from components.publish import charts, figures, pages, report, study_tables, tables
from components.publish.pages.gallery import Gallery, test_rows
from components.publish.pages.worst import worst_images
from components.publish.paper_tables import paper_table
from components.publish.report import Picture
from components.publish.results import (
    EvaluatedRow,
    StudyRow,
    compare_with,
    describe_findings,
    describe_map,
    evaluated,
    not_run_note,
    pool_rows,
)
from components.publish.sections import compose_report
from components.publish.study_tables import DIFFERENCE
from components.publish.tables import Table
from components.runs.folder import read_record
from components.workspace.layout import Layout

COMPARED = ("Experiment", "Baseline", DIFFERENCE, "Beyond noise?")  # columns of the summary's second table
MAIN = ("MAE", "RMSE", "NAE")  # of all metrics, those that DVC shows
SCATTER = "Counts of the test images: one point per image and seed. On the dashed line the count is right."
ERRORS = (
    "Errors of the same counts against how densely people stand: images to the left are sparse, to the right crowded; "
    "above the dashed line people were counted that are not there. Lines: the mean of each fifth of the images. "
    "Megapixels of the images as they were counted."
)
CURVES = (
    "Thin lines are seeds, bold lines their mean. Losses of different density maps do not measure the same thing: "
    "compare how they fall, and compare the counters by MAE."
)
TRIALS = "Trials in their order, and the smallest validation MAE of each along every dimension of the search."

log = logging.getLogger(__name__)


def collect_rows(study: Study, layout: Layout) -> list[StudyRow]:
    """One row per experiment of the study: evaluated if it was run to its end as the study defines it now."""
    return [_row(study, layout, name) for name in study.experiments]


def write_study_report(study: Study, layout: Layout, rows: list[StudyRow]) -> None:
    """Write every table and picture, the report, and the summary."""
    times, baseline = study.publish.bootstrap, study.publish.baseline
    pools = [pool_rows(rows, title, names, times) for title, names in study.publish.pooled.items()]
    all_rows, found = [*pools, *rows], evaluated(rows)
    differences = compare_with(baseline, evaluated(all_rows), times)
    made = make_tables(study, layout, rows, pools, differences)
    for table in made.values():
        tables.write(table, layout.tables)
    findings = describe_findings(all_rows, baseline, differences)
    gallery = Gallery(study, layout, found) if found else None
    drawn = draw_pictures(study, layout, gallery, found) if gallery else {}
    worst = worst_images(gallery) if gallery else None
    study_yaml = layout.params.read_text()
    report.write(compose_report(study, found, findings, made, drawn, worst, study_yaml), layout.report)
    printed = [tables.plain(made["results"].choose("Experiment", *all_metrics()))]
    if "comparisons" in made:
        printed.append(tables.plain(made["comparisons"].choose(*COMPARED)))
    layout.metrics.write_text(json.dumps(main_figures(all_rows, differences), indent=2) + "\n")
    places = f"report: {layout.report}\ntables: {layout.tables}\n"
    layout.summary.write_text("\n\n".join([*printed, *not_run_note(rows), places]))
    log.info("%s: %s, %s", study.title, layout.report, layout.tables)


def main_figures(rows: list[StudyRow], differences: dict[str, Difference]) -> dict[str, dict[str, float]]:
    """The errors of each row that was run, and how far its MAE is from the baseline's: numbers, for programs."""
    return {
        row.name: {title: row.metrics[title].value for title in MAIN}
        | ({DIFFERENCE: differences[row.name].mae.value} if row.name in differences else {})
        for row in evaluated(rows)
    }


def make_tables(
    study: Study,
    layout: Layout,
    rows: list[StudyRow],
    pools: list[StudyRow],
    differences: dict[str, Difference],
) -> dict[str, Table]:
    """Every table of the study, by the name of its files."""
    wanted, times, found = study.publish, study.publish.bootstrap, evaluated(rows)
    of_scenes = [row for row in found if len(set(row.scores.scenes)) > 1]
    compared = {wanted.baseline: differences} | {
        base: compare_with(base, [row for row in found if row.name in (base, *names)], times)
        for base, names in wanted.compared.items()
    }
    reports = {name: layout.prepared(name).report_json for name in study.datasets}
    made = [
        study_tables.results_table(pools, rows, times),
        *([study_tables.scenes_table(of_scenes, times)] if of_scenes else []),
        study_tables.published_comparison_table(rows, wanted.published),
        *(paper_table(number, study, rows, times) for number in wanted.tables),
        *([study_tables.comparisons_table([*pools, *rows], compared, times)] if any(compared.values()) else []),
        *([study_tables.published_table(rows, wanted.published)] if wanted.published else []),
        *([study_tables.runs_table(found)] if found else []),
        *(study_tables.search_table(name, layout.search(name).trials) for name in _ended_searches(study, layout)),
        *(study_tables.data_table(name, _read_json(file)) for name, file in reports.items() if file.exists()),
    ]
    return {table.name: table for table in made}


def draw_pictures(study: Study, layout: Layout, gallery: Gallery, rows: list[EvaluatedRow]) -> dict[str, Picture]:
    """Every picture of the study, by name."""
    pictures = {
        name: Picture(layout.figures / f"{name}.png", layout.dark_figures / f"{name}.png", caption, alt)
        for name, (caption, alt) in _charts(study, layout, rows).items()
    }
    scores = {row.title: row.scores for row in rows}
    densities = {row.title: _densities(layout, row) for row in rows}
    metrics = {row.title: [layout.run(row.name, seed).metrics for seed in row.scores.seeds] for row in rows}
    charts.scatter(scores, *pictures["scatter"].files)
    charts.errors(scores, densities, *pictures["errors"].files)
    figures.compare_curves(metrics, *pictures["curves"].files)
    for name in _ended_searches(study, layout):
        logarithmic = {key for key, each in study.searches[name].space.items() if each.loguniform}
        charts.search(layout.search(name).trials, logarithmic, *pictures[f"search-{name}"].files)
    return pictures | dict(pages.draw(gallery, layout.figures, layout.dark_figures))


def _charts(study: Study, layout: Layout, rows: list[EvaluatedRow]) -> dict[str, tuple[str, str]]:
    """The caption and the description of every chart, by the name of its file."""
    titles = "; ".join(row.title for row in rows)
    errors = "; ".join(f"{row.title}, MAE {row.metrics['MAE'].value:.1f}" for row in rows)
    searches = {
        f"search-{name}": (
            TRIALS,
            f"Validation MAE in the search {name}: by trial, and along {', '.join(study.searches[name].space)}",
        )
        for name in _ended_searches(study, layout)
    }
    return {
        "scatter": (SCATTER, f"Scatter plots of predicted against annotated people: {errors}"),
        "errors": (ERRORS, f"Scatter plots of errors against people per megapixel: {titles}"),
        "curves": (CURVES, f"Lines of validation MAE and losses by epoch: {titles}"),
    } | searches


def _densities(layout: Layout, row: EvaluatedRow) -> np.ndarray:
    """People per megapixel of each test image, (n,)."""
    tested = test_rows(Prepared(layout.prepared(row.experiment.dataset).folder), row)
    density: np.ndarray = row.scores.truth / np.array([each.height * each.width / 1e6 for each in tested])
    return density


def _row(study: Study, layout: Layout, name: str) -> StudyRow:
    experiment = study.experiments[name]
    row = StudyRow(name, experiment, describe_map(study, experiment))
    records = {seed: read_record(layout.run(name, seed)) for seed in sorted(experiment.seeds)}
    found = {
        seed: record
        for seed, record in records.items()
        if record is not None and _current_plan(study, layout, name, seed).plain().items() <= record.items()
    }
    if len(found) < len(records) or not layout.scores(name).exists():
        return row
    scores = read_scores(layout.scores(name))
    if scores.seeds != tuple(records):
        return row
    metrics, cost = estimate(scores, study.publish.bootstrap), read_cost(layout.scores(name))
    return EvaluatedRow(name, experiment, row.density_map, found, scores, metrics, cost)


def _current_plan(study: Study, layout: Layout, name: str, seed: int) -> Plan:
    """The plan of a run as the study defines it now; since it was run, the study may have changed."""
    experiment, where = study.experiments[name], f"{layout.params}: experiments.{name}"
    plan = resolve(experiment, study.maps[experiment.annotation].kernel, study.study, name, where)
    source = study.frozen_from(name)
    if source is None:
        return plan
    return plan.with_values({"density_map.run": str(layout.run(source, seed).folder)}, where)


def _ended_searches(study: Study, layout: Layout) -> list[str]:
    """A preview need not wait for the others."""
    return [name for name in study.searches if layout.search(name).trials.exists()]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: is damaged ({error}); remove its folder and run the stage that writes it") from None
    return values
