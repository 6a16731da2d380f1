"""The tables of a study. What is measured here and what others published never share a column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.evaluation.metrics import METRICS, Difference, by_scene
from components.publish import published
from components.publish.published import PublishedRow
from components.publish.results import Asked, Result, describe, measured, settings, verdict
from components.publish.tables import Cell, Measured, Table

PROBLEMS = 12  # of a data set: as many are shown, the others counted
NOT_RUN = "not run"


def results(pools: Sequence[Asked], asked: Sequence[Asked], times: int) -> Table:
    """A row per pool of folds and per experiment: what was run, and every metric with its interval."""
    rows = tuple((each.title, *_metrics(each), *settings(each).values()) for each in (*pools, *asked))
    head, found = ("Experiment", *METRICS, *settings(asked[0])), measured([*pools, *asked])
    return Table("results", "Measured here", head, rows, (*_reading(found, times), *_each(measured(asked))))


def beside(asked: Sequence[Asked], section: str | None) -> Table:
    """MAE of every experiment with the published cells that it stands beside, a column for each data set."""
    cells = [published.beside(section, each.experiment.counter.kind, each.experiment.published) for each in asked]
    datasets = list(dict.fromkeys(cell.dataset for row in cells for cell in row))
    rows = tuple(
        (each.title, each.experiment.counter.kind, _metrics(each)[0], *_printed(row, datasets))
        for each, row in zip(asked, cells, strict=True)
    )
    head = ("Experiment", "Counter", "MAE measured here", *(f"MAE published, {dataset}" for dataset in datasets))
    return Table("beside", "Measured here, beside the paper's figures", head, rows, _standing(cells, section))


def comparisons(asked: Sequence[Asked], found: Mapping[str, Mapping[str, Difference]], times: int) -> Table:
    """MAE minus a baseline's, paired by seed and image; `found` by baseline."""
    titles = {each.name: each.title for each in asked}
    rows = tuple(
        (
            titles[name],
            titles[baseline],
            Measured(difference.mae, digits=2, signed=True),
            ", ".join(f"{gap:+.2f} (seed {seed})" for seed, gap in difference.by_seed.items()),
            verdict(difference),
        )
        for baseline, differences in found.items()
        for name, difference in differences.items()
    )
    note = (
        "Paired: same seeds, test images, order of samples, crops and flips. Negative: fewer errors than the baseline. "
        f"95 % interval: {times} bootstrap replicates of the images, widened by Student's interval over the seeds."
    )
    head = ("Experiment", "Baseline", "MAE minus baseline's", "By seed", "Beyond noise?")
    return Table("comparisons", "Paired comparison with the baseline", head, rows, (note,))


def scenes(found: Sequence[Result], times: int) -> Table:
    """MAE, scene by scene, of experiments whose test images are of several, and the mean over the scenes."""
    names = sorted({scene for result in found for scene in result.scored.scenes})
    rows = []
    for result in found:
        errors = by_scene(result.scored, times)
        cells = [Measured(errors[name]) if name in errors else "-" for name in (*names, "average")]
        rows.append((result.title, *cells))
    head = ("Experiment", *(f"scene {name}" for name in names), "Average")
    note = (
        "MAE. The average weighs every scene the same, however many images it has. "
        f"95 % interval: {times} bootstrap replicates of the seeds, and of the images within their scene."
    )
    return Table("scenes", "Scene by scene", head, tuple(rows), (note,))


def others(asked: Sequence[Asked], section: str) -> Table:
    """What others published on this data set: the study's counters, whole methods, and the newest results."""
    counters = {each.experiment.counter.kind for each in asked}
    rows = [row for row in published.section(section) if not row.map or row.counter.lower() in counters]
    cells = tuple((row.method, row.map, str(row.mae), _optional(row.rmse), row.origin, _note(row)) for row in rows)
    note = f"None of these figures is measured here. Setting: {rows[0].setting}. Many were selected on the test half."
    references = dict.fromkeys(f"{row.source}: {row.reference}." for row in rows)
    head = ("Method", "Density map", "MAE", "RMSE", "Source", "Note")
    return Table("published", f"Published by others on {rows[0].dataset}", head, cells, (note, *references))


def runs(found: Sequence[Result]) -> Table:
    """A row per run: what its record says."""
    rows = tuple(
        (
            result.title,
            str(seed),
            str(record["best_epoch"]),
            f"{record['seconds']:.0f}",
            f"{record['parameters']:,}",
            "; ".join(record["alarms"]) or "none",
        )
        for result in found
        for seed, record in result.records.items()
    )
    head = ("Experiment", "Seed", "Best epoch", "Seconds", "Parameters", "Collapse alarms")
    return Table("runs", "Training runs", head, rows)


def search(name: str, trials: Path) -> Table:
    """The trials of a search, best first."""
    rows = sorted(pq.read_table(trials).to_pylist(), key=lambda row: (math.isnan(row["val_mae"]), row["val_mae"]))
    keys = [key for key in rows[0] if key.startswith("config.")]
    head = ("Trial", "Status", "Epochs", "Validation MAE", *(key.removeprefix("config.") for key in keys))
    cells = tuple(
        (str(row["trial"]), row["status"], str(row["epochs"]), f"{row['val_mae']:.1f}", *(_short(row[k]) for k in keys))
        for row in rows
    )
    return Table(f"search-{name}", f"Trials of the search {name}, best first", head, cells)


def data(name: str, report: Mapping[str, Any]) -> Table:
    """A data set's report: its splits, and the first of its problems."""
    head = ("Split", "Images", "People", "Fewest", "Mean", "Most")
    rows = tuple((split, *(f"{value:g}" for value in counts.values())) for split, counts in report["splits"].items())
    problems = [f"{row['file']}: {row['what']}; {row['action']}" for row in report["problems"]]
    more = [f"and {len(problems) - PROBLEMS} more problems"] if len(problems) > PROBLEMS else []
    found = [*problems[:PROBLEMS], *more] or ["No problem was found in the data."]
    return Table(f"data-{name}", report["title"], head, rows, (*report["notes"], *found))


def _metrics(asked: Asked) -> tuple[Cell, ...]:
    if not isinstance(asked, Result):
        return (NOT_RUN,) * len(METRICS)
    return tuple(Measured(asked.metrics[name], 3 if name == "NAE" else 1) for name in METRICS)


def _reading(found: Sequence[Result], times: int) -> list[str]:
    """How to read the figures, where there are any."""
    if not found:
        return []
    empty = max(int((result.scored.truth == 0).sum()) for result in found)
    fewest = min(len(result.scored.seeds) for result in found)
    return [
        f"Mean over the seeds [95 % interval: {times} bootstrap replicates of images and seeds]. "
        "Weights of the epoch with the smallest MAE on the validation images.",
        "MAE, RMSE and GAME in people an image, GAME(0) is MAE; NAE is the mean of |error| / people"
        + (f", {empty} images without people left out." if empty else "."),
        *(["One seed: its interval speaks of images, not of other runs."] if fewest == 1 else []),
        *(["Two seeds can only hint at how far runs differ."] if fewest == 2 else []),
    ]


def _each(found: Sequence[Result]) -> list[str]:
    """Options that the study sets itself, and alarms, an experiment a line."""
    return [
        f"{result.title}: {'; '.join(said)}." for result in found if (said := [*_options(result), *_alarms(result)])
    ]


def _options(result: Result) -> list[str]:
    experiment = result.experiment
    choices = {"density map": experiment.density_map, "counter": experiment.counter, "loss": experiment.loss}
    return [f"{role} {describe(choice)}" for role, choice in choices.items() if choice.options]


def _alarms(result: Result) -> list[str]:
    return [
        f"collapse alarm, seed {seed}: {alarm}" for seed, record in result.records.items() for alarm in record["alarms"]
    ]


def _printed(row: list[PublishedRow], datasets: list[str]) -> list[Cell]:
    """The published cells by data set; the table is named where the paper prints two figures."""
    by_dataset = {dataset: [cell for cell in row if cell.dataset == dataset] for dataset in datasets}
    return [
        "; ".join(str(cell.mae) + (f" ({cell.table})" if len(cells) > 1 else "") for cell in cells) or "-"
        for cells in by_dataset.values()
    ]


def _standing(cells: list[list[PublishedRow]], section: str | None) -> tuple[str, ...]:
    settings = dict.fromkeys(f"{cell.reference}, {cell.dataset}: {cell.setting}." for row in cells for cell in row)
    if not settings:
        return ("No published figure stands beside these experiments.",)
    orientation = (
        "The published columns are another data set and stand for orientation alone: read down a column, never across."
        if section is None
        else "The settings differ (see the resolution and the images measured here): read down a column before across."
    )
    return (orientation, *(f"Published: {setting}" for setting in settings))


def _note(row: PublishedRow) -> str:
    scenes = f"scenes {', '.join(map(str, row.scenes))}" if row.scenes else ""
    return "; ".join(part for part in (row.note, scenes) if part)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _optional(number: float | None) -> str:
    return "-" if number is None else str(number)
