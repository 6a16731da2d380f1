"""Train one experiment with each of its seeds: `python -m components.stages.train STUDY EXPERIMENT`.

DVC deletes a stage's outputs before it runs, so what is needed to resume is kept elsewhere until all seeds are done
(`components/workspace/lock.py`), under the fingerprint of each run. Where the density map is that of another
experiment of the study, each seed takes the run of that experiment with the same seed."""

from __future__ import annotations

from typing import Any

from components.config.resolve import Plan
from components.crowd import apply_region_mask
from components.publish import figures
from components.runs.folder import describe_run, save_run
from components.runs.provenance import check_code, code_sha256, data_sha256, fingerprint, provenance
from components.training import ray_train
from components.training.assemble import TrainingData, load_run, open_data
from components.training.fit import State
from components.training.loggers import open_loggers
from components.training.progress import EpochProgress, describe_training
from components.training.ray_cluster import cluster
from components.workspace.layout import Layout, RunPaths
from components.workspace.lock import exclusive_lock, storage
from components.workspace.processes import run_stage
from components.workspace.settings import plan_of_seed, read_experiment

EXAMPLES = 4  # validation images on the page of predictions


def train(layout: Layout, name: str) -> None:
    """Write the runs of one experiment. Raises UserError: see `plan_of_seed`, `ray_train.train` and `check_code`."""
    experiment = read_experiment(layout, name)
    plans = {seed: plan_of_seed(layout, name, seed) for seed in experiment.seeds}
    prepared, maps = layout.prepared(experiment.dataset), layout.maps(experiment.annotation)
    data, data_hash = open_data(prepared.folder, maps), data_sha256(prepared, maps)
    codes = {seed: code_sha256("train", plan) for seed, plan in plans.items()}
    fingerprints = {seed: fingerprint("train", plan, {"seed": seed}, data_hash) for seed, plan in plans.items()}
    with cluster():
        for seed, plan in plans.items():
            run = fingerprints[seed]
            state, started_from = train_run(layout.run(name, seed), plan, seed, data, run)
            check_code("train", plan, codes[seed])
            made_of = provenance(plan, started_from, data_hash, data.prepared, run)
            write_run(layout.run(name, seed), plan, seed, data, state, made_of)
    for run in fingerprints.values():
        ray_train.forget(training_states(), run)


def train_run(paths: RunPaths, plan: Plan, seed: int, data: TrainingData, name: str) -> tuple[State, str]:
    """Train one run, or go on with it, and show how it goes; `name` is its fingerprint. See `ray_train.train`."""
    title = f"{plan.experiment}, seed {seed}"
    with (
        exclusive_lock(name),
        open_loggers(paths, title, plan.plain() | {"seed": seed}) as loggers,
        EpochProgress(title, plan.training.epochs, loggers) as progress,
    ):
        state, started_from = ray_train.train(
            plan,
            seed,
            data,
            storage=training_states(),
            name=name,
            on_progress=progress,
            on_resume=progress.catch_up,
        )
        progress.catch_up(state["history"])  # where the training had ended before, nothing was heard of it
    return state, started_from


def training_states() -> str:
    """Where the states of unfinished runs are kept: a folder or an address."""
    return f"{storage()}/training"


def write_run(
    paths: RunPaths, plan: Plan, seed: int, data: TrainingData, state: State, made_of: dict[str, Any]
) -> None:
    """Write a run that ended, with its curves and a page of predictions; `made_of` is its `provenance`."""
    record = describe_run(plan, seed, state, data.prepared)
    record |= {"training_run": describe_training(state, data.prepared), "provenance": made_of}
    save_run(paths, record, state)
    draw_examples(paths, data)


def draw_examples(run: RunPaths, data: TrainingData) -> None:
    """The curves, and a page of predictions beside what the counter was to learn, on validation images."""
    figures.curves(run.metrics, run.curves)
    model, examples = load_run(run).model, []
    for row in data.prepared.split("val")[:EXAMPLES]:
        image, region = data.prepared.images[row.number], data.prepared.region(row, model.stride)
        truth = model.target_map(row.dots, (row.height, row.width), data.maps[row.number], image, region)
        examples.append((row.id, image, truth, apply_region_mask(model.predict_image(image), region)))
    figures.predictions(examples, run.predictions)


if __name__ == "__main__":
    run_stage(train, "experiment")
