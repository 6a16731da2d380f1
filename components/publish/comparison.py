"""Two experiments side by side: in what they differ, how their errors differ, and on which images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from components.data.manifest import Prepared
from components.errors import UserError
from components.evaluation.metrics import all_metrics
from components.evaluation.scores import Scores, read_scores
from components.evaluation.statistics import REPLICATES, Difference, compare, estimate
from components.publish import report
from components.publish.figures import Panel, page
from components.publish.report import Picture, Report, Section
from components.publish.tables import Cell, EstimateCell, Table, mark_best
from components.runs.folder import read_record
from components.workspace.layout import OUT, Layout

ASPECTS = {
    "data": ("data_sha256", "split", "dataset", "objects", "preprocessing"),
    "code": ("git_commit", "git_dirty", "code_sha256", "lock_sha256", "versions"),
    "hardware": ("hardware", "precision"),
}
OUTCOME = {"validation", "training_run", "fingerprint", "experiment", "study", "format", "weights", "epoch", "seed"}
PICTURES = 6  # of the images on which two experiments differ most


@dataclass(frozen=True)
class Evaluated:
    """An experiment that was run: its name as `STUDY/EXPERIMENT`, the record of its first seed, and its scores."""

    name: str
    layout: Layout
    record: Mapping[str, Any]
    scores: Scores


@dataclass(frozen=True)
class Comparison:
    """Two experiments. `difference` is the second one's MAE minus the first one's, paired; `gaps` (n,) the same of
    each image on which both were tested, averaged over the seeds."""

    first: Evaluated
    second: Evaluated
    settings: Table
    metrics: Table
    images: Table
    difference: Difference
    gaps: np.ndarray


def read_evaluated(name: str) -> Evaluated:
    """Raises UserError: not written STUDY/EXPERIMENT, or not run and evaluated."""
    study, slash, experiment = name.partition("/")
    if not slash or not study or not experiment:
        raise UserError(f"{name}: write STUDY/EXPERIMENT")
    layout = Layout(study)
    if not layout.scores(experiment).exists():
        there = sorted(f"{path.parts[-3]}/{path.stem}" for path in OUT.glob("*/scores/*.parquet"))
        raise UserError(f"{name}: was not run and evaluated; there are: {', '.join(there) or 'none'}")
    scores = read_scores(layout.scores(experiment))
    record = read_record(layout.run(experiment, scores.seeds[0]))
    if record is None:
        raise UserError(f"{name}: there is no record of its run in {layout.runs(experiment)}; run it again")
    return Evaluated(name, layout, record, scores)


def compare_experiments(first: Evaluated, second: Evaluated, times: int = REPLICATES) -> Comparison:
    """Raises UserError where they share no test image, or no seed."""
    theirs = set(second.scores.ids)
    common = [id for id in first.scores.ids if id in theirs]
    seeds = [seed for seed in first.scores.seeds if seed in second.scores.seeds]
    if not common or not seeds:
        raise UserError(f"{first.name} and {second.name} share no {'seed' if common else 'test image'}: not comparable")
    a, b = (_restrict(each.scores, seeds, common) for each in (first, second))
    gaps = (np.abs(b.prediction - b.truth) - np.abs(a.prediction - a.truth)).mean(axis=0)
    return Comparison(
        first,
        second,
        _settings_table(first, second),
        _metrics_table(first, second, a, b, times),
        _images_table(first, second, a, b, gaps),
        compare(b, a, times),
        gaps,
    )


def findings(comparison: Comparison) -> str:
    """One sentence: which has the lower error, and whether that is beyond noise."""
    value, low, high = comparison.difference.mae
    seeds, images = len(comparison.difference.by_seed), len(comparison.gaps)
    verdict = "beyond noise" if comparison.difference.beyond_noise else "not beyond noise"
    runs = f"{seeds} paired seeds" if seeds > 1 else "one seed, which says nothing of other runs"
    return (
        f"MAE of {comparison.second.name} minus that of {comparison.first.name}: "
        f"{value:+.2f} [{low:+.2f}, {high:+.2f}], {verdict} ({runs}, {images} images)."
    )


def document(comparison: Comparison) -> dict[str, Any]:
    """What the tables say, for programs."""
    mae = comparison.difference.mae
    aspects: dict[str, dict[str, Any]] = {}
    for aspect, key, a, b in _differences(comparison.first.record, comparison.second.record):
        aspects.setdefault(aspect, {})[key] = [a, b]
    return {
        "experiments": [comparison.first.name, comparison.second.name],
        "differences": aspects,
        "mae_difference": {"value": mae.value, "low": mae.low, "high": mae.high},
        "by_seed": comparison.difference.by_seed,
        "images": [list(map(str, row)) for row in comparison.images.rows],
    }


def write_page(comparison: Comparison, target: Path) -> None:
    """One HTML file with the tables, and the images on which the two differ most."""
    first, second = comparison.first.name, comparison.second.name
    with TemporaryDirectory() as folder:
        pictures = _pictures(comparison, Path(folder))
        sections = (
            Section("Errors", tables=(comparison.metrics,)),
            Section("Images on which they differ most", pictures=pictures, tables=(comparison.images,)),
            Section("In what they differ", tables=(comparison.settings,)),
        )
        about = "Two experiments, compared on the test images and seeds that both have."
        report.write(Report(f"{first} and {second}", about, findings(comparison), sections), target)


def _restrict(scores: Scores, seeds: list[int], ids: list[str]) -> Scores:
    places = {id: place for place, id in enumerate(scores.ids)}
    return scores.take(np.array([scores.seeds.index(seed) for seed in seeds]), np.array([places[id] for id in ids]))


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    """(aspect, key, first's value, second's) of everything in which two records differ, results apart."""
    a, b = dict(_leaves(first)), dict(_leaves(second))
    for key in dict.fromkeys([*a, *b]):
        parts = key.removeprefix("provenance.").split(".")
        if parts[0] in OUTCOME or a.get(key) == b.get(key):
            continue
        aspect = next((name for name, keys in ASPECTS.items() if parts[0] in keys), "settings")
        yield aspect, ".".join(parts), a.get(key), b.get(key)


def _leaves(values: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{start}{key}.")
        else:
            yield f"{start}{key}", value


def _settings_table(first: Evaluated, second: Evaluated) -> Table:
    rows = tuple(
        (aspect, key, _written(a), _written(b)) for aspect, key, a, b in _differences(first.record, second.record)
    )
    return Table("differences", "In what they differ", ("of", "key", first.name, second.name), rows)


def _written(value: Any) -> str:
    return "-" if value is None else str(value)


def _metrics_table(first: Evaluated, second: Evaluated, a: Scores, b: Scores, times: int) -> Table:
    measured = [(first.name, estimate(a, times)), (second.name, estimate(b, times))]
    head = ("Experiment", *measured[0][1])
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, *(EstimateCell(each, all_metrics()[title].digits) for title, each in metrics.items()))
        for name, metrics in measured
    )
    return Table("metrics", "Errors on the test images of both", head, mark_best(rows, ["both"] * len(rows)))


def _images_table(first: Evaluated, second: Evaluated, a: Scores, b: Scores, gaps: np.ndarray) -> Table:
    rows = tuple(
        (
            a.ids[place],
            f"{a.truth[place]:.0f}",
            f"{a.prediction[:, place].mean():.1f}",
            f"{b.prediction[:, place].mean():.1f}",
            f"{gaps[place]:+.1f}",
        )
        for place in np.argsort(-np.abs(gaps))[:10]
    )
    head = ("image", "people", first.name, second.name, "error of the second minus that of the first")
    return Table("images", "Images on which they differ most", head, rows)


def _pictures(comparison: Comparison, folder: Path) -> tuple[Picture, ...]:
    """The images of the table's first rows, in two lines; none where the prepared data are no longer there."""
    dataset = comparison.first.record["dataset"]
    paths = comparison.first.layout.prepared(dataset)
    if not paths.manifest.exists():
        return ()
    prepared = Prepared(paths.folder)
    rows = {row.id: row for row in prepared.rows}
    panels = [
        Panel(f"{id}: {people} people\n{a} and {b}", prepared.images[rows[id].number])
        for id, people, a, b, _ in (tuple(map(str, row)) for row in comparison.images.rows[:PICTURES])
        if id in rows
    ]
    lines = [panels[:3], panels[3:]] if len(panels) == PICTURES else [panels]
    caption = f"Counts by {comparison.first.name} and {comparison.second.name}."
    alt = "; ".join(panel.title.replace("\n", ", ") for panel in panels)
    picture = Picture(folder / "light.png", folder / "dark.png", caption, f"Images on which they differ most: {alt}")
    page(lines, *picture.files)
    return (picture,)
