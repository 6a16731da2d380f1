"""Count every test image with each seed's best weights: `python -m components.stages.evaluate STUDY EXPERIMENT`."""

from __future__ import annotations

from collections.abc import Iterator

from components.config.study import Study
from components.data.manifest import Prepared
from components.errors import UserError
from components.evaluation import scores as scored
from components.evaluation.metrics import METRICS, measure
from components.evaluation.score import Scene, Score, score
from components.runs import folder as runs
from components.workspace.layout import Layout
from components.workspace.processes import entry, run

SPLIT = "test"


def evaluate(study: Study, layout: Layout, name: str) -> None:
    """Write one Parquet row per seed and test image, and print the metrics of each seed."""
    experiment = entry(study.experiments, name, "experiments", study)
    prepared = Prepared(layout.prepared(experiment.dataset))
    scores = {seed: score_seed(prepared, layout, name, seed) for seed in experiment.seeds}
    scored.write(layout.scores(name), scores)
    for seed, of_seed in scores.items():
        print(f"{name} seed {seed}, {len(of_seed)} {SPLIT} images: {_line(of_seed)}")


def score_seed(prepared: Prepared, layout: Layout, name: str, seed: int) -> list[Score]:
    """Scores of one run's best weights. Raises UserError where the data set has no test images."""
    if not prepared.split(SPLIT):
        raise UserError(f"{prepared.folder}: has no {SPLIT} images; give its entry a larger split.{SPLIT}")
    model = runs.load(layout.run(name, seed)).model
    return score(model.predict, images_to_count(prepared, model.stride), model.stride)


def images_to_count(prepared: Prepared, stride: int) -> Iterator[Scene]:
    """Every test image, for a counter of this stride."""
    for row in prepared.split(SPLIT):
        yield Scene(row.id, prepared.images[row.number], row.dots, prepared.region(row, stride), row.scene)


def _line(scores: list[Score]) -> str:
    values = measure(scored.gather({0: scores}))
    return ", ".join(f"{name} {value:.3g}" for name, value in zip(METRICS, values, strict=True))


if __name__ == "__main__":
    run(evaluate, "study", "experiment")
