"""Count every test image with each seed's best weights: `python -m components.stages.evaluate STUDY EXPERIMENT`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from components.data.manifest import Prepared
from components.errors import UserError
from components.evaluation.score import EvalImage, Score, score
from components.evaluation.scores import write_scores
from components.runs.predictor import Predictor, load_predictor
from components.workspace.layout import Layout
from components.workspace.processes import run_stage

SPLIT = "test"

log = logging.getLogger(__name__)


def evaluate(layout: Layout, name: str) -> None:
    """Write one Parquet row per seed and test image. Raises UserError: no run has ended, or no test images."""
    predictors = {int(run.name.removeprefix("seed-")): load_predictor(run) for run in run_folders(layout, name)}
    dataset = next(iter(predictors.values())).metadata["dataset"]
    prepared = Prepared(layout.prepared(dataset).folder)
    if not prepared.split(SPLIT):
        raise UserError(f"{prepared.folder}: has no {SPLIT} images; give its entry a larger split.{SPLIT}")
    scores = {seed: score_run(predictor, prepared) for seed, predictor in predictors.items()}
    write_scores(layout.scores(name), scores)
    for seed, of_seed in scores.items():
        errors = [abs(each.prediction - each.truth) for each in of_seed]
        log.info("%s seed %d, %d %s images: MAE %.3g", name, seed, len(errors), SPLIT, sum(errors) / len(errors))


def run_folders(layout: Layout, name: str) -> list[Path]:
    """The folders of an experiment's runs, by seed. Raises UserError where there is none."""
    folders = sorted(layout.runs(name).glob("seed-*"), key=lambda run: int(run.name.removeprefix("seed-")))
    if not folders:
        raise UserError(f"{layout.runs(name)}: holds no finished run; train {name} first")
    return folders


def score_run(predictor: Predictor, prepared: Prepared) -> list[Score]:
    """The scores of every test image by one run's best weights."""
    return score(predictor.density, test_images(prepared, predictor.stride), predictor.stride)


def test_images(prepared: Prepared, stride: int) -> Iterator[EvalImage]:
    """Every test image, for a counter of this stride."""
    for row in prepared.split(SPLIT):
        yield EvalImage(row.id, prepared.images[row.number], row.dots, prepared.region(row, stride), row.scene)


if __name__ == "__main__":
    run_stage(evaluate, "experiment")
