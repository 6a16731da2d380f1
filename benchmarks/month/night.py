"""One night of the month: what arrived is ingested, a counter is trained on all pictures so far, and three policies
decide about it. Whatever is killed is done again from where it stopped."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.month.cameras import NIGHTS, Picture, arrive, audit, write_set
from components.config.load import load_options, load_study
from components.config.retrain import Retrain
from components.errors import UserError
from components.gate.decide import carry_out
from components.gate.judge import judge
from components.gate.policy import Policy
from components.inbox.held_out import HeldOut
from components.inbox.ingest import ingest
from components.inbox.raw_set import open_raw_set
from components.runs.folder import describe_run, read_weights, write_weights
from components.runs.predictor import load_predictor
from components.runs.registry import Registry
from components.stages.prepare import prepare
from components.stages.rasterize import rasterize
from components.training.assemble import assemble, open_data, samples
from components.training.fit import fit
from components.workspace.layout import GATE, RETRAIN, Layout
from components.workspace.settings import plan_of, write_settings

STUDY, EXPERIMENT, DATASET, MAPS = "street", "fixed", "street", "fixed"
STOCK, NIGHTLY, HELD_OUT, AUDIT = 24, 4, 24, 12  # pictures of each camera: on the first night, on others, and to test
FIRST_EPOCHS, EPOCHS = 8, 2  # on the first night, from ImageNet weights; on others, from the counter in use
TOLERANCE = 0.05  # of the gate
COUNTERS, RECORD, REGISTRY = Path("counters"), Path("nights.jsonl"), "registry"


def write_project() -> None:
    """The project of the simulation, in the current folder: a study, an inbox, a gate with its held-out set."""
    settings: dict[Path, Any] = {
        Layout(STUDY).params: {
            "study": STUDY,
            "title": "A street with three cameras",
            "datasets": {DATASET: {"source": {"kind": "labelme", "root": "data/street"}, "split": {"val": 0.15}}},
            "maps": {MAPS: {"dataset": DATASET, "kernel": {"kind": "fixed", "sigma": 4}}},
            "experiments": {
                EXPERIMENT: {
                    "dataset": DATASET,
                    "annotation": MAPS,
                    "counter": {"kind": "efficientnet_lite", "fixed_blocks": 10},
                    "training": {"epochs": 1, "batch_size": 4},
                }
            },
            "publish": {"baseline": EXPERIMENT},
        },
        RETRAIN: {"inbox": "inbox", "study": STUDY, "experiment": EXPERIMENT, "camera": "(cam[0-9])", "settle": 0},
        GATE: {
            "held_out": {"source": {"kind": "labelme", "root": "data/held-out"}, "camera": "(cam[0-9])"},
            "accuracy": {"tolerance": TOLERANCE, "first": 1.0},
            "supporting": {"bias": 0.3},
            "sanity": {"tiles": 0.5},  # a quarter of these small pictures shows little
            "leaks": {"data": str(Layout(STUDY).prepared(DATASET).folder)},
        },
    }
    for file, values in settings.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(values, sort_keys=False))
    Path("data/street").mkdir(parents=True, exist_ok=True)
    write_set(Path("data/held-out"), "held out", range(1, NIGHTS + 1), HELD_OUT)


def run_night(night: int) -> None:
    """Print each step as it begins. A night that is done is not done again; one that was killed is begun again, and
    finds what it had done: pictures that were taken, and counters that were trained."""
    if night in {line["night"] for line in read_record()}:
        return
    print("ingest", flush=True)
    arrive(Path("inbox"), night, STOCK if night == 1 else NIGHTLY)
    taken = take_pictures()
    print("prepare", flush=True)
    prepare_data()
    registry = Registry(REGISTRY)
    used = registry.current()
    current = None if used is None else registry.weights(used.counter)
    print("train", flush=True)
    candidate = train(night, current, COUNTERS / f"candidate-{night:02d}.safetensors")
    blind = train_blindly(night, candidate, current)
    print("gate", flush=True)
    verdict = judge(candidate, current, load_options(Policy, GATE), registry)
    card = candidate.with_suffix(".md")
    card.touch()
    carry_out(verdict, registry, candidate, card, {"night": night})
    print("audit", flush=True)
    deployed = registry.current()
    if deployed is None:
        raise UserError(f"the first counter was refused: {verdict.reasons()}")
    counters = {"gated": registry.weights(deployed.counter), "always deploy": blind, "never retrain": _blind(1)}
    pictures = audit(night, AUDIT)
    line = {
        "night": night,
        "taken": taken,
        "outcome": verdict.outcome,
        "reasons": verdict.reasons(),
        "before": audit_mae(current or candidate, pictures),
        "mae": {policy: audit_mae(file, pictures) for policy, file in counters.items()},
    }
    with RECORD.open("a") as file:
        file.write(json.dumps(line) + "\n")


def take_pictures() -> int:
    """Ingest what arrived; the number of new or corrected pictures."""
    settings, policy = load_options(Retrain, RETRAIN), load_options(Policy, GATE)
    assert policy.held_out is not None
    sources = [(policy.held_out.source, policy.held_out.half)]
    raw, paths = open_raw_set(settings)
    return len(ingest(settings, raw, paths, lambda: HeldOut(raw, sources)).accepted)


def prepare_data() -> None:
    layout = Layout(STUDY)
    write_settings(load_study(layout.params), layout)
    prepare(layout, DATASET)
    rasterize(layout, MAPS)


def train(night: int, start: Path | None, target: Path) -> Path:
    """Train on all pictures so far, from the weights of a counter or, on the first night, ImageNet's; writes the epoch
    that is best on the validation images."""
    if target.exists():
        return target
    layout = Layout(STUDY)
    plan = plan_of(layout, EXPERIMENT).with_values({"training.epochs": FIRST_EPOCHS if start is None else EPOCHS}, "")
    data = open_data(layout.prepared(DATASET).folder, layout.maps(MAPS))
    model = assemble(plan, night)
    model.counter.load_pretrained()
    if start is not None:
        model.counter.load_state_dict(read_weights(start).of("counter"))
    training, validation = samples(plan, night, data, model.stride)
    state = fit(model, training, validation, plan.training, report=lambda record, state: None)
    partial = target.with_suffix(".partial")
    write_weights(partial, state["best"]["model"], describe_run(plan, night, state, data.prepared))
    return partial.replace(target)


def train_blindly(night: int, candidate: Path, current: Path | None) -> Path:
    """The counter of who deploys every candidate: trained from that of the night before, whatever the gate said."""
    target = _blind(night)
    if current is None or _blind(night - 1).read_bytes() == current.read_bytes():
        shutil.copy(candidate, target)
    return train(night, _blind(night - 1), target)


def _blind(night: int) -> Path:
    return COUNTERS / f"always-{night:02d}.safetensors"


def audit_mae(weights: Path, pictures: Sequence[Picture]) -> float:
    """Mean absolute error on pictures that nobody else ever sees."""
    predictor = load_predictor(weights)
    return float(np.mean([abs(predictor.count(pixels) - len(dots)) for pixels, dots in pictures]))


def read_record() -> list[dict[str, Any]]:
    """A line for each night that is done."""
    return [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.exists() else []


def main(folder: Path, night: int) -> None:
    """Run one night in a folder, and make the project there on the first."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    if night == 1:
        COUNTERS.mkdir(exist_ok=True)
        write_project()
    run_night(night)
