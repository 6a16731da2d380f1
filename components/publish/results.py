"""What a study measured, an experiment at a time, and what may be said about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.evaluation.metrics import Difference, Estimate, compare, estimate
from components.evaluation.scored import Scored, pool
from components.params import Choice, Experiment, Study
from components.training.plan import loss_of


@dataclass(frozen=True)
class Result:
    """One experiment: what was asked for, the records of its runs by seed (manifest.json), and what was measured."""

    name: str
    experiment: Experiment
    density_map: str  # "refined from adaptive"
    records: Mapping[int, Mapping[str, Any]]
    scored: Scored
    metrics: Mapping[str, Estimate]

    @property
    def title(self) -> str:
        return self.experiment.title


def pooled(found: Sequence[Result], title: str, names: Sequence[str], times: int) -> Result:
    """One row of several experiments, such as the folds of a cross-validation: their test images, each counted once.

    Raises ValueError where an image is tested twice, or the experiments share no seed."""
    parts = [result for result in found if result.name in names]
    try:
        scores = pool([part.scored for part in parts])
    except ValueError as error:
        raise ValueError(f"publish.pooled.{title}: the experiments {error}") from None
    datasets = " + ".join(dict.fromkeys(part.experiment.dataset for part in parts))
    return Result(
        name=title,
        experiment=parts[0].experiment.model_copy(update={"title": title, "dataset": datasets}),
        density_map=parts[0].density_map,
        records=dict(enumerate(record for part in parts for record in part.records.values())),
        scored=scores,
        metrics=estimate(scores, times),
    )


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


def differences(results: Sequence[Result], baseline: str, times: int) -> dict[str, Difference]:
    """MAE of every other experiment on the baseline's test images minus the baseline's, by name."""
    [base] = [result for result in results if result.name == baseline]
    return {
        result.name: compare(result.scored, base.scored, times)
        for result in results
        if result is not base and _comparable(result, base)
    }


def verdict(difference: Difference) -> str:
    """What the interval allows to be said."""
    if len(difference.by_seed) == 1:
        return "no: one seed cannot tell"
    if not difference.beyond_noise:
        return "no: the interval holds 0"
    return "yes: fewer errors" if difference.mae.value < 0 else "yes: more errors"


def summary(results: Sequence[Result], baseline: str, found: Mapping[str, Difference]) -> str:
    """The finding in a few sentences, which says no more than the intervals do."""
    titles = {result.name: result.title for result in results}
    [base] = [result for result in results if result.name == baseline]
    mae, seeds = base.metrics["MAE"], len(base.scored.seeds)
    opening = (
        f"On {len(base.scored.ids)} test images, the baseline ({base.title}) is off by {mae.value:.1f} people an image "
        f"(95 % interval {mae.low:.1f} to {mae.high:.1f}, {seeds} {'seed' if seeds == 1 else 'seeds'})."
    )
    better, worse, noise = ([titles[name] for name in names] for names in _sorted(found))
    return " ".join(
        [
            opening,
            *([f"Beyond noise, fewer errors: {'; '.join(better)}."] if better else []),
            *([f"Beyond noise, more errors: {'; '.join(worse)}."] if worse else []),
            *([f"Not to be told apart from the baseline: {'; '.join(noise)}."] if noise else []),
        ]
    )


def _sorted(found: Mapping[str, Difference]) -> tuple[list[str], list[str], list[str]]:
    """Names with a smaller MAE beyond noise, with a larger one, and the rest."""
    beyond = {name: difference.mae.value for name, difference in found.items() if difference.beyond_noise}
    better, worse = [name for name in beyond if beyond[name] < 0], [name for name in beyond if beyond[name] > 0]
    return better, worse, [name for name in found if name not in beyond]


def _comparable(result: Result, base: Result) -> bool:
    return result.scored.ids == base.scored.ids and bool(set(result.scored.seeds) & set(base.scored.seeds))
