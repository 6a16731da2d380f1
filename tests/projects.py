"""Small studies that run through the real stages in the current folder; only training is `fit` alone, without Ray."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from components.config.load import load_study
from components.config.resolve import Plan
from components.config.study import Study
from components.runs.folder import describe_run, save_run
from components.runs.provenance import data_sha256, provenance
from components.stages.evaluate import evaluate
from components.stages.prepare import prepare
from components.stages.rasterize import rasterize
from components.training.assemble import TrainingData, assemble, load_start, open_data, samples
from components.training.fit import State, fit
from components.training.progress import describe_training
from components.workspace.layout import Layout
from components.workspace.settings import plan_of_seed, read_experiment, write_settings

TINY = {
    "study": "tiny",
    "title": "A tiny crowd",
    "datasets": {
        "crowd": {
            "source": {"kind": "synthetic", "images": 12, "height": 48, "width": 64, "low": 2, "high": 9},
            "split": {"val": 0.25, "test": 0.25},
        }
    },
    "maps": {"near": {"dataset": "crowd", "kernel": {"kind": "fixed", "sigma": 4}}},
    "dataset": "crowd",
    "counter": {"kind": "mcnn"},
    "training": {"epochs": 1, "batch_size": 4},
    "experiments": {"fixed": {"annotation": "near"}},
    "publish": {"baseline": "fixed", "bootstrap": 100},
}

FitPlan = Callable[[Plan, int, TrainingData], tuple[State, str]]


def write_study(values: dict) -> Layout:
    """The files of a study in the current folder, with the settings that the stage `resolve` writes."""
    layout = Layout(values["study"])
    layout.params.parent.mkdir(parents=True, exist_ok=True)
    layout.params.write_text(yaml.safe_dump(values, sort_keys=False))
    write_settings(load_study(layout.params), layout)
    return layout


def fit_plan(plan: Plan, seed: int, data: TrainingData) -> tuple[State, str]:
    """Train one run; its last state, and what the counter started from."""
    model = assemble(plan, seed)
    started_from = load_start(model)
    training, validation = samples(plan, seed, data, model.stride)
    return fit(model, training, validation, plan.training, report=lambda record, state: None), started_from


def run_study(values: dict, fit_plan: FitPlan = fit_plan) -> tuple[Study, Layout]:
    """Prepare, rasterize, train and evaluate all of a study."""
    layout = write_study(values)
    study = load_study(layout.params)
    for name in study.datasets:
        prepare(layout, name)
    for name in study.maps:
        rasterize(layout, name)
    for name in sorted(study.experiments, key=lambda name: study.frozen_from(name) is not None):
        train(layout, name, fit_plan)
        evaluate(layout, name)
    return study, layout


def train(layout: Layout, name: str, fit_plan: FitPlan = fit_plan) -> None:
    """The runs of an experiment, as the stage writes them, without pictures."""
    experiment = read_experiment(layout, name)
    for seed in experiment.seeds:
        plan = plan_of_seed(layout, name, seed)
        prepared, maps = layout.prepared(plan.dataset), layout.maps(experiment.annotation)
        data = open_data(prepared.folder, maps)
        state, started_from = fit_plan(plan, seed, data)
        record = describe_run(plan, seed, state, data.prepared)
        record["training_run"] = describe_training(state, data.prepared)
        record["provenance"] = provenance(plan, started_from, data_sha256(prepared, maps), data.prepared, "none")
        save_run(layout.run(name, seed), record, state)


def change_record(layout: Layout, name: str, seed: int, part: str, **values: Any) -> None:
    """Write other values into one part of a run's record."""
    file: Path = layout.run(name, seed).record
    record = json.loads(file.read_text())
    record[part] |= values
    file.write_text(json.dumps(record))
