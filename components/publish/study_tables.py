"""The tables of a study. Figures measured here and figures that others published never share a column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.config.study import Averaging
from components.evaluation.metrics import all_metrics
from components.evaluation.statistics import Difference, by_scene
from components.publish import published
from components.publish.published import PublishedRow
from components.publish.results import (
    PARAMETERS,
    EvaluatedRow,
    StudyRow,
    cost_notes,
    describe_choice,
    evaluated,
    run_costs,
    run_settings,
    verdict,
)
from components.publish.tables import Cell, EstimateCell, Table, mark_best

PROBLEMS_SHOWN = 12  # of a data set; the others are counted
NOT_RUN = "not run"
BOLD = "Bold: the smallest of its column on the same test images; the paired comparison says what is beyond noise."
DIFFERENCE = "MAE minus baseline's"


def results_table(pools: Sequence[StudyRow], rows: Sequence[StudyRow], times: int) -> Table:
    """One row per pool of folds and per experiment: every metric with its interval, what counting costs, and how it
    was run."""
    cells = tuple(
        (row.title, *_metric_cells(row), *run_costs(row).values(), *run_settings(row).values())
        for row in (*pools, *rows)
    )
    settings = tuple(run_settings(rows[0]))
    head = ("Experiment", *all_metrics(), *run_costs(rows[0]), *settings)
    found = evaluated([*pools, *rows])
    notes = (*_how_to_read(found, times), *cost_notes(found), *_row_notes(evaluated(rows)))
    return Table("results", "Measured here", head, mark_best(cells, _test_sets([*pools, *rows])), notes, settings)


def published_comparison_table(rows: Sequence[StudyRow], section: str | None) -> Table:
    """MAE and cost of every experiment beside the published figures of the same counter and map, one column per data
    set."""
    figures = [published.figures_for(section, row.experiment.counter.kind, row.experiment.published) for row in rows]
    datasets = list(dict.fromkeys(figure.dataset for of_row in figures for figure in of_row))
    cells = tuple(
        (
            row.title,
            row.experiment.counter.kind,
            _metric_cells(row)[0],
            *run_costs(row).values(),
            *_published_cells(of_row, datasets),
        )
        for row, of_row in zip(rows, figures, strict=True)
    )
    costs, published_columns = run_costs(rows[0]), (f"MAE published, {dataset}" for dataset in datasets)
    head = ("Experiment", "Counter", "MAE measured here", *costs, *published_columns)
    notes = (*_comparison_notes(figures, section), *cost_notes(evaluated(rows)))
    marked = mark_best(cells, _test_sets(rows))
    return Table("published-comparison", "Compared with the paper's figures", head, marked, notes)


def comparisons_table(
    rows: Sequence[StudyRow], differences: Mapping[str, Mapping[str, Difference]], times: int
) -> Table:
    """MAE minus a baseline's, paired by seed and image; `differences` by baseline."""
    titles = {row.name: row.title for row in rows}
    cells = tuple(
        (
            titles[name],
            titles[baseline],
            EstimateCell(difference.mae, digits=2, signed=True),
            ", ".join(f"{gap:+.2f} (seed {seed})" for seed, gap in difference.by_seed.items()),
            verdict(difference),
        )
        for baseline, of_baseline in differences.items()
        for name, difference in of_baseline.items()
    )
    note = (
        "Paired: same seeds, test images, order of samples, crops and flips. Negative: lower error than the baseline. "
        f"95 % interval: {times} bootstrap replicates of the images, widened by Student's interval over the seeds."
    )
    head = ("Experiment", "Baseline", DIFFERENCE, "By seed", "Beyond noise?")
    return Table("comparisons", "Paired comparison with the baseline", head, cells, (note,))


def scenes_table(rows: Sequence[EvaluatedRow], times: int) -> Table:
    """MAE per scene and the mean over the scenes, for experiments whose test images show several."""
    names = sorted({scene for row in rows for scene in row.scores.scenes})
    cells = []
    for row in rows:
        errors = by_scene(row.scores, times)
        cells.append((row.title, *(EstimateCell(errors[n]) if n in errors else "-" for n in (*names, "average"))))
    head = ("Experiment", *(f"scene {name}" for name in names), "Average")
    note = (
        "MAE. In the average every scene has the same weight, however many images it has. "
        f"95 % interval: {times} bootstrap replicates of the seeds, and of the images within their scene."
    )
    return Table("scenes", "Per scene", head, mark_best(cells, _test_sets(rows)), (note,))


def published_table(rows: Sequence[StudyRow], section: str) -> Table:
    """What others published on this data set: the study's counters, whole methods, and the newest results; with
    parameters, where those of any row are known."""
    counters = {row.experiment.counter.kind for row in rows}
    figures = [each for each in published.section(section) if not each.map or each.counter.lower() in counters]
    sized = any(each.parameters for each in figures)
    cells = tuple(
        (
            each.method,
            each.map,
            str(each.mae),
            _optional(each.rmse),
            *([_optional(each.parameters)] if sized else []),
            each.origin,
            _note(each),
        )
        for each in figures
    )
    first = figures[0]
    note = (
        f"None of these figures is measured here. Setting: {first.setting}. "
        "Many of these models were selected on the test half."
    )
    references = dict.fromkeys(f"{each.source}: {each.reference}." for each in figures)
    head = ("Method", "Density map", "MAE", "RMSE", *([PARAMETERS] if sized else []), "Source", "Note")
    return Table("published", f"Published by others on {first.dataset}", head, cells, (note, *references))


def runs_table(rows: Sequence[EvaluatedRow]) -> Table:
    """One row per run: how its training went."""
    cells = tuple(
        (
            row.title,
            str(seed),
            str(run["best_epoch"]),
            f"{run['seconds']:.0f}",
            f"{run['parameters']:,}",
            "; ".join(run["alarms"]) or "none",
        )
        for row in rows
        for seed, run in ((seed, record["training_run"]) for seed, record in row.records.items())
    )
    head = ("Experiment", "Seed", "Best epoch", "Seconds", "Parameters", "Collapse alarms")
    return Table("runs", "Training runs", head, cells)


def search_table(name: str, trials: Path) -> Table:
    """The trials of a search, best first."""
    rows = sorted(pq.read_table(trials).to_pylist(), key=lambda row: (math.isnan(row["val_mae"]), row["val_mae"]))
    keys = [key for key in rows[0] if key.startswith("config.")]
    head = ("Trial", "Status", "Epochs", "Validation MAE", *(key.removeprefix("config.") for key in keys))
    cells = tuple(
        (str(row["trial"]), row["status"], str(row["epochs"]), f"{row['val_mae']:.1f}", *(_short(row[k]) for k in keys))
        for row in rows
    )
    return Table(f"search-{name}", f"Trials of the search {name}, best first", head, cells)


def data_table(name: str, report: Mapping[str, Any]) -> Table:
    """A data set's report: its splits, and the first of its problems."""
    head = ("Split", "Images", "People", "Fewest", "Mean", "Most")
    cells = tuple((split, *(f"{value:g}" for value in counts.values())) for split, counts in report["splits"].items())
    problems = [f"{each['file']}: {each['what']}; {each['action']}" for each in report["problems"]]
    more = [f"and {len(problems) - PROBLEMS_SHOWN} more problems"] if len(problems) > PROBLEMS_SHOWN else []
    listed = [*problems[:PROBLEMS_SHOWN], *more] or ["No problem was found in the data."]
    return Table(f"data-{name}", report["title"], head, cells, (*report["notes"], *listed))


def _test_sets(rows: Sequence[StudyRow]) -> list[tuple[str, ...] | None]:
    """The test images of each row; only rows with the same ones are compared."""
    return [row.scores.ids if isinstance(row, EvaluatedRow) else None for row in rows]


def _metric_cells(row: StudyRow) -> tuple[Cell, ...]:
    metrics = all_metrics()
    if not isinstance(row, EvaluatedRow):
        return (NOT_RUN,) * len(metrics)
    return tuple(EstimateCell(row.metrics[title], metric.digits) for title, metric in metrics.items())


def _how_to_read(rows: Sequence[EvaluatedRow], times: int) -> list[str]:
    """How to read the figures, where there are any."""
    if not rows:
        return []
    fewest = min(len(row.scores.seeds) for row in rows)
    empty = max(int((row.scores.truth == 0).sum()) for row in rows)
    descriptions = dict.fromkeys(metric.description for metric in all_metrics().values())
    return [
        f"Mean over the seeds [95 % interval: {times} bootstrap replicates of images and seeds]. "
        "Weights of the epoch with the smallest MAE on the validation images.",
        f"{'; '.join(descriptions)}.",
        *([BOLD] if len(rows) > 1 else []),
        *([f"Test images without people: {empty}."] if empty else []),
        *(["One seed: the intervals cover other images, not other runs."] if fewest == 1 else []),
        *(["Two seeds can only hint at how much runs differ."] if fewest == 2 else []),
    ]


def _row_notes(rows: Sequence[EvaluatedRow]) -> list[str]:
    """One line per experiment: options that the study sets, averaged predictions, shares that a mixture learned, and
    collapse alarms."""
    found = [(row.title, [*_options(row), *_averaging(row), *_mean_shares(row), *_alarms(row)]) for row in rows]
    return [f"{title}: {'; '.join(notes)}." for title, notes in found if notes]


def _options(row: EvaluatedRow) -> list[str]:
    experiment = row.experiment
    choices = {"density map": experiment.density_map, "counter": experiment.counter, "loss": experiment.loss}
    return [f"{role} {describe_choice(choice)}" for role, choice in choices.items() if choice.options]


def _averaging(row: EvaluatedRow) -> list[str]:
    """That several predictions were averaged for each test image, where they were."""
    averaging = row.experiment.averaging
    mirrored = ", each also mirrored" if averaging.flip else ""
    scales = ", ".join(f"{scale:g}" for scale in averaging.scales)
    return [] if averaging == Averaging() else [f"predictions averaged at test time: scales {scales}{mirrored}"]


def _mean_shares(row: EvaluatedRow) -> list[str]:
    """The mean shares of a mixture's bandwidths in each of its runs, as the option `shares` takes them."""
    return [
        f"mean shares learned, seed {seed}: {record['training_run']['mean_shares']}"
        for seed, record in row.records.items()
        if "mean_shares" in record["training_run"]
    ]


def _alarms(row: EvaluatedRow) -> list[str]:
    return [
        f"collapse alarm, seed {seed}: {alarm}"
        for seed, record in row.records.items()
        for alarm in record["training_run"]["alarms"]
    ]


def _published_cells(figures: list[PublishedRow], datasets: list[str]) -> list[Cell]:
    """The published figures by data set; where a paper prints two, each with its table."""
    by_dataset = {dataset: [each for each in figures if each.dataset == dataset] for dataset in datasets}
    return [
        "; ".join(str(each.mae) + (f" ({each.table})" if len(of_dataset) > 1 else "") for each in of_dataset) or "-"
        for of_dataset in by_dataset.values()
    ]


def _comparison_notes(figures: list[list[PublishedRow]], section: str | None) -> tuple[str, ...]:
    settings = dict.fromkeys(f"{each.reference}, {each.dataset}: {each.setting}." for of in figures for each in of)
    if not settings:
        return ("No published figure corresponds to these experiments.",)
    caution = (
        "The published figures are of other data sets, for orientation only: compare them with each other, not ours."
        if section is None
        else "The settings differ (see the resolution and the images measured here): compare within a column first."
    )
    return (caution, *(f"Published: {setting}" for setting in settings))


def _note(row: PublishedRow) -> str:
    scenes = f"scenes {', '.join(map(str, row.scenes))}" if row.scenes else ""
    return "; ".join(part for part in (row.note, scenes) if part)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _optional(number: float | None) -> str:
    return "-" if number is None else str(number)
