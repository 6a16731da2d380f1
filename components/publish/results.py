"""What a study measured, an experiment at a time, and what may be said about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.config.options import Choice
from components.config.resolve import loss_of
from components.config.study import Experiment, Study
from components.errors import UserError
from components.evaluation.metrics import Difference, Estimate, compare, estimate
from components.evaluation.scores import Scored, pool


@dataclass(frozen=True)
class Asked:
    """One experiment as the study asks for it: there may be nothing measured of it yet."""

    name: str
    experiment: Experiment
    density_map: str  # "refined from adaptive"

    @property
    def title(self) -> str:
        return self.experiment.title


@dataclass(frozen=True)
class Result(Asked):
    """One experiment that was run: the records of its runs by seed (manifest.json), and what was measured."""

    records: Mapping[int, Mapping[str, Any]]
    scored: Scored
    metrics: Mapping[str, Estimate]


def pooled(asked: Sequence[Asked], title: str, names: Sequence[str], times: int) -> Asked:
    """One row of several experiments, such as the folds of a cross-validation: their test images, each counted once.

    A result where all of them were run. Raises UserError where an image is tested twice, or they share no seed."""
    chosen = [each for each in asked if each.name in names]
    parts, datasets = measured(chosen), " + ".join(dict.fromkeys(each.experiment.dataset for each in chosen))
    experiment = chosen[0].experiment.model_copy(update={"title": title, "dataset": datasets})
    row = Asked(title, experiment, chosen[0].density_map)
    if len(parts) < len(chosen):
        return row
    try:
        scores = pool([part.scored for part in parts])
    except UserError as error:
        raise UserError(f"publish.pooled.{title}: {error}") from None
    records = dict(enumerate(part.records[seed] for part in parts for seed in scores.seeds))
    return Result(row.name, experiment, row.density_map, records, scores, estimate(scores, times))


def describe_map(study: Study, experiment: Experiment) -> str:
    """What the counter learns from: the annotation map itself, what a module makes of it, or dots alone."""
    loss = loss_of(experiment, experiment.title)
    if not loss.drawn:
        return f"dots, {loss.title}"
    kind, drawn = experiment.density_map.kind, describe(study.maps[experiment.annotation].kernel)
    return {"identity": drawn, "refined": f"refined from {drawn}"}.get(kind, kind)


def describe(choice: Choice) -> str:
    """A kind and the options that the study gives it: `fixed, sigma 4`."""
    return ", ".join([choice.kind, *_written(choice.options)])


def _written(options: Mapping[str, Any]) -> list[str]:
    """`key value` for each option; those inside another one, such as `optimiser`, behind its name."""
    return [
        f"{key} {' '.join(_written(value)) if isinstance(value, Mapping) else value}" for key, value in options.items()
    ]


def settings(asked: Asked) -> dict[str, str]:
    """Under which settings an experiment was run; of one that was not, what the study asks for."""
    experiment = asked.experiment
    records = asked.records.values() if isinstance(asked, Result) else ()
    images = f", test, {len(asked.scored.ids)} images" if isinstance(asked, Result) else ""
    return {
        "Counter": experiment.counter.kind,
        "Density map": asked.density_map,
        "Data": experiment.dataset + images,
        "Resolution": "; ".join(dict.fromkeys(f"{record['resolution']} px" for record in records)) or "-",
        "Preset": experiment.preset,
        "Started from": "; ".join(dict.fromkeys(record["started_from"] for record in records)) or "-",
        "Seeds": ", ".join(map(str, asked.scored.seeds if isinstance(asked, Result) else experiment.seeds)),
    }


def measured(asked: Sequence[Asked]) -> list[Result]:
    """Those that were run."""
    return [each for each in asked if isinstance(each, Result)]


def differences(results: Sequence[Result], baseline: str, times: int) -> dict[str, Difference]:
    """MAE of every other experiment on the baseline's test images minus the baseline's, by name."""
    return {
        result.name: compare(result.scored, base.scored, times)
        for base in results
        for result in results
        if base.name == baseline and result is not base and _comparable(result, base)
    }


def verdict(difference: Difference) -> str:
    """What the interval allows to be said."""
    if len(difference.by_seed) == 1:
        return "no: one seed cannot tell"
    if not difference.beyond_noise:
        return "no: the interval holds 0"
    return "yes: fewer errors" if difference.mae.value < 0 else "yes: more errors"


def summary(asked: Sequence[Asked], baseline: str, found: Mapping[str, Difference]) -> str:
    """The finding in a few sentences, which says no more than the intervals do."""
    titles = {each.name: each.title for each in asked}
    better, worse, noise = ([titles[name] for name in names] for names in _sorted(found))
    return " ".join(
        [
            _opening(next(each for each in asked if each.name == baseline)),
            *([f"Beyond noise, fewer errors: {'; '.join(better)}."] if better else []),
            *([f"Beyond noise, more errors: {'; '.join(worse)}."] if worse else []),
            *([f"Not to be told apart from the baseline: {'; '.join(noise)}."] if noise else []),
            *not_run(asked),
        ]
    )


def not_run(asked: Sequence[Asked]) -> list[str]:
    """A sentence with the experiments that were not run, or nothing."""
    missing = [each.title for each in asked if not isinstance(each, Result)]
    return [f"Not run: {'; '.join(missing)}."] if missing else []


def _opening(base: Asked) -> str:
    if not isinstance(base, Result):
        return f"The baseline ({base.title}) was not run: nothing is compared with it."
    mae, seeds = base.metrics["MAE"], len(base.scored.seeds)
    return (
        f"On {len(base.scored.ids)} test images, the baseline ({base.title}) is off by {mae.value:.1f} people an image "
        f"(95 % interval {mae.low:.1f} to {mae.high:.1f}, {seeds} {'seed' if seeds == 1 else 'seeds'})."
    )


def _sorted(found: Mapping[str, Difference]) -> tuple[list[str], list[str], list[str]]:
    """Names with a smaller MAE beyond noise, with a larger one, and the rest."""
    beyond = {name: difference.mae.value for name, difference in found.items() if difference.beyond_noise}
    better, worse = [name for name in beyond if beyond[name] < 0], [name for name in beyond if beyond[name] > 0]
    return better, worse, [name for name in found if name not in beyond]


def _comparable(result: Result, base: Result) -> bool:
    return result.scored.ids == base.scored.ids and bool(set(result.scored.seeds) & set(base.scored.seeds))
