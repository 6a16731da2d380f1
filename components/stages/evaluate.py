"""Count every test image with each seed's best weights: `python -m components.stages.evaluate STUDY EXPERIMENT`.

On a CPU, what counting an image costs is measured too."""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path

import numpy as np

from components.config.load import read_entry
from components.config.study import Averaging
from components.data.manifest import Prepared
from components.errors import UserError
from components.evaluation.score import Score, eval_images, score
from components.evaluation.scores import Cost, write_scores
from components.runs.predictor import Predictor, load_predictor
from components.runs.provenance import processor_name
from components.workspace.layout import Layout
from components.workspace.processes import run_stage

SPLIT = "test"
TIMED = 16  # test images, evenly spread, that are counted once more to measure what it costs

log = logging.getLogger(__name__)


def evaluate(layout: Layout, name: str) -> None:
    """Write one Parquet row per seed and test image. Raises UserError: no run has ended, or no test images."""
    predictors = {int(run.name.removeprefix("seed-")): load_predictor(run) for run in run_folders(layout, name)}
    dataset = next(iter(predictors.values())).metadata["dataset"]
    prepared = Prepared(layout.prepared(dataset).folder)
    if not prepared.split(SPLIT):
        raise UserError(f"{prepared.folder}: has no {SPLIT} images; give its entry a larger split.{SPLIT}")
    averaging = read_entry(Averaging, layout.settings("averaging", name))
    scores = {seed: score_run(predictor, prepared, averaging) for seed, predictor in predictors.items()}
    write_scores(layout.scores(name), scores, measure_cost(next(iter(predictors.values())), prepared, averaging))
    for seed, of_seed in scores.items():
        errors = [abs(each.prediction - each.truth) for each in of_seed]
        log.info("%s seed %d, %d %s images: MAE %.3g", name, seed, len(errors), SPLIT, sum(errors) / len(errors))


def run_folders(layout: Layout, name: str) -> list[Path]:
    """The folders of an experiment's runs, by seed. Raises UserError where there is none."""
    folders = sorted(layout.runs(name).glob("seed-*"), key=lambda run: int(run.name.removeprefix("seed-")))
    if not folders:
        raise UserError(f"{layout.runs(name)}: holds no finished run; train {name} first")
    return folders


def score_run(predictor: Predictor, prepared: Prepared, averaging: Averaging) -> list[Score]:
    """The scores of every test image by one run's best weights."""
    density = partial(predictor.density, flip=averaging.flip, scales=averaging.scales)
    return score(density, eval_images(prepared, prepared.split(SPLIT), predictor.stride), predictor.stride)


def measure_cost(predictor: Predictor, prepared: Prepared, averaging: Averaging) -> Cost | None:
    """The CPU seconds in which a run's counter counts a test image on its one thread; None where it counts on a GPU.

    The images are counted apart from the scores, which so do not depend on it; a first one warms up."""
    if predictor.device.type != "cpu":
        return None
    rows = prepared.split(SPLIT)
    images = [prepared.images[rows[place].number] for place in range(0, len(rows), -(-len(rows) // TIMED))]
    density = partial(predictor.density, flip=averaging.flip, scales=averaging.scales)
    density(images[0])
    started = time.process_time()
    for image in images:
        density(image)
    seconds = time.process_time() - started
    megapixels = float(np.mean([image.shape[0] * image.shape[1] for image in images])) / 1e6
    return Cost(seconds / len(images), megapixels, processor_name())


if __name__ == "__main__":
    run_stage(evaluate, "experiment")
