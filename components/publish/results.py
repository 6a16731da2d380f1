"""The experiments of a study as rows of its tables, and what may be said about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.config import plugins
from components.config.options import Choice
from components.config.resolve import Kind, build_loss
from components.config.study import Experiment, Study
from components.errors import UserError
from components.evaluation.scores import Cost, Scores, pool_costs, pool_scores
from components.evaluation.statistics import Difference, Estimate, compare, estimate

PARAMETERS, CPU_SECONDS = "Parameters (M)", "CPU s per image"  # headings of what counting costs


@dataclass(frozen=True)
class StudyRow:
    """One experiment of a study as a row of its tables; it may not have been run yet."""

    name: str
    experiment: Experiment
    density_map: str  # "refined from adaptive"

    @property
    def title(self) -> str:
        return self.experiment.title


@dataclass(frozen=True)
class EvaluatedRow(StudyRow):
    """One experiment that was run: the records of its runs by seed (run.json), and its scores."""

    records: Mapping[int, Mapping[str, Any]]
    scores: Scores
    metrics: Mapping[str, Estimate]
    cost: Cost | None = None  # where it was measured


def pool_rows(rows: Sequence[StudyRow], title: str, names: Sequence[str], times: int) -> StudyRow:
    """One row for several experiments, such as the folds of a cross-validation, over all their test images.

    It is an evaluated row where all of them were run. Raises UserError where an image is tested twice, or where they
    share no seed."""
    chosen = [row for row in rows if row.name in names]
    parts, datasets = evaluated(chosen), " + ".join(dict.fromkeys(row.experiment.dataset for row in chosen))
    experiment = chosen[0].experiment.model_copy(update={"title": title, "dataset": datasets})
    if len(parts) < len(chosen):
        return StudyRow(title, experiment, chosen[0].density_map)
    try:
        scores = pool_scores([part.scores for part in parts])
    except UserError as error:
        raise UserError(f"publish.pooled.{title}: {error}") from None
    records = dict(enumerate(part.records[seed] for part in parts for seed in scores.seeds))
    cost = pool_costs([part.cost for part in parts], [len(part.scores.ids) for part in parts])
    return EvaluatedRow(title, experiment, chosen[0].density_map, records, scores, estimate(scores, times), cost)


def evaluated(rows: Sequence[StudyRow]) -> list[EvaluatedRow]:
    """Those that were run."""
    return [row for row in rows if isinstance(row, EvaluatedRow)]


def describe_map(study: Study, experiment: Experiment) -> str:
    """What the counter learns from: the annotation map itself, what a module makes of it, or dots alone."""
    options = plugins.resolve("loss", experiment.loss, f"{experiment.title}: loss", experiment.preset)
    loss = build_loss(Kind(experiment.loss.kind, options))
    if not loss.uses_density_map:
        return f"dots, {loss.title}"
    kind, drawn = experiment.density_map.kind, describe_choice(study.maps[experiment.annotation].kernel)
    return {"identity": drawn, "refined": f"refined from {drawn}"}.get(kind, kind)


def describe_choice(choice: Choice) -> str:
    """A kind and the options that the study gives it: `fixed, sigma 4`."""
    return ", ".join([choice.kind, *_describe_options(choice.options)])


def _describe_options(options: Mapping[str, Any]) -> list[str]:
    """`key value` for each option; those inside another one, such as `optimiser`, follow its name."""
    return [
        f"{key} {' '.join(_describe_options(value)) if isinstance(value, Mapping) else value}"
        for key, value in options.items()
    ]


def run_settings(row: StudyRow) -> dict[str, str]:
    """The settings of a row by their headings: those under which it was run, or else those of the study."""
    experiment = row.experiment
    records = [*row.records.values()] if isinstance(row, EvaluatedRow) else []
    images = f", test, {len(row.scores.ids)} images" if isinstance(row, EvaluatedRow) else ""
    sizes = dict.fromkeys(f"{record['training_run']['resolution']} px" for record in records)
    starts = dict.fromkeys(record["provenance"]["started_from"] for record in records)
    return {
        "Counter": experiment.counter.kind,
        "Density map": row.density_map,
        "Data": experiment.dataset + images,
        "Resolution": "; ".join(sizes) or "-",
        "Preset": experiment.preset,
        "Started from": "; ".join(starts) or "-",
        "Seeds": ", ".join(map(str, row.scores.seeds if isinstance(row, EvaluatedRow) else experiment.seeds)),
    }


def run_costs(row: StudyRow) -> dict[str, str]:
    """What counting with a row's counter costs, by the headings; "-" for what was not measured."""
    if not isinstance(row, EvaluatedRow):
        return {PARAMETERS: "-", CPU_SECONDS: "-"}
    counts = dict.fromkeys(f"{record['training_run']['parameters'] / 1e6:.3g}" for record in row.records.values())
    return {PARAMETERS: "; ".join(counts), CPU_SECONDS: "-" if row.cost is None else f"{row.cost.cpu_seconds:.2g}"}


def cost_notes(rows: Sequence[EvaluatedRow]) -> list[str]:
    """How to read what counting costs, where there are rows: a sentence on what was measured, and on what."""
    titles: dict[str, list[str]] = {}
    for row in rows:
        titles.setdefault(_describe_cost(row.cost), []).append(row.title)
    if not titles:
        return []
    measured = [how if len(titles) == 1 else f"{', '.join(of)}: {how}" for how, of in titles.items()]
    return [
        f"{PARAMETERS}: millions, of the counter. {CPU_SECONDS}: processor time to count one test image on one thread, "
        f"preprocessing and network ({'; '.join(measured)})."
    ]


def _describe_cost(cost: Cost | None) -> str:
    if cost is None:
        return "not measured, as the images were counted on a GPU or by an earlier version"
    return f"images of {cost.megapixels:.2g} megapixels on average, {cost.processor}"


def compare_with(baseline: str, rows: Sequence[EvaluatedRow], times: int) -> dict[str, Difference]:
    """MAE of every other row on the baseline's test images minus the baseline's MAE, by the rows' names."""
    return {
        row.name: compare(row.scores, base.scores, times)
        for base in rows
        for row in rows
        if base.name == baseline and row is not base and _comparable(row, base)
    }


def _comparable(row: EvaluatedRow, base: EvaluatedRow) -> bool:
    return row.scores.ids == base.scores.ids and bool(set(row.scores.seeds) & set(base.scores.seeds))


def verdict(difference: Difference) -> str:
    """What the interval allows to say."""
    if len(difference.by_seed) == 1:
        return "unknown: one seed only"
    if not difference.beyond_noise:
        return "no: the interval includes 0"
    return "yes: lower error" if difference.mae.value < 0 else "yes: higher error"


def describe_findings(rows: Sequence[StudyRow], baseline: str, differences: Mapping[str, Difference]) -> str:
    """The findings in a few sentences, which say no more than the intervals do."""
    titles = {row.name: row.title for row in rows}
    said: dict[str, list[str]] = {
        "Lower error, beyond noise": [],
        "Higher error, beyond noise": [],
        "No measurable difference from the baseline": [],
        "With one seed only, so unknown": [],
    }
    lower, higher, same, unknown = said.values()
    for name, difference in differences.items():
        if difference.beyond_noise:
            (lower if difference.mae.value < 0 else higher).append(titles[name])
        else:
            (same if len(difference.by_seed) > 1 else unknown).append(titles[name])
    return " ".join(
        [
            _describe_baseline(next(row for row in rows if row.name == baseline)),
            *(f"{words}: {'; '.join(found)}." for words, found in said.items() if found),
            *not_run_note(rows),
        ]
    )


def not_run_note(rows: Sequence[StudyRow]) -> list[str]:
    """A sentence with the experiments that were not run, or nothing."""
    missing = [row.title for row in rows if not isinstance(row, EvaluatedRow)]
    return [f"Not run: {'; '.join(missing)}."] if missing else []


def _describe_baseline(row: StudyRow) -> str:
    if not isinstance(row, EvaluatedRow):
        return f"The baseline ({row.title}) was not run, so nothing is compared with it."
    mae, seeds = row.metrics["MAE"], len(row.scores.seeds)
    return (
        f"On {len(row.scores.ids)} test images, the baseline ({row.title}) is off by {mae.value:.1f} people per image "
        f"(95 % interval {mae.low:.1f} to {mae.high:.1f}, {seeds} {'seed' if seeds == 1 else 'seeds'})."
    )
