"""The figures that need pixels and models: the maps of one image side by side, and what each counter predicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.evaluation.score import as_batch
from components.packing import Pack
from components.params import Study
from components.prepared import Prepared, Row
from components.publish.figures import Panel, counted, page
from components.publish.results import Result
from components.stages._layout import Layout
from components.training import runs
from components.training.joint import JointModel

MOST = 5  # maps in one row of a page
QUANTILES = (0.1, 0.5, 0.9)  # of the counts: which test images are shown


def draw(study: Study, layout: Layout, found: Sequence[Result], maps: Path, predictions: Path) -> None:
    """`maps`: the density maps that the counters learn from, on the test image of median count (the paper's figure 4).
    `predictions`: what the counters make of a sparse, a median and a dense test image. Each with its first seed."""
    prepared = Prepared(layout.prepared(study.experiments[study.publish.baseline].dataset))
    shown = _models(study, layout, found)
    rows = sorted(prepared.split("test"), key=lambda row: (len(row.dots), row.id))
    places = dict.fromkeys(round(quantile * (len(rows) - 1)) for quantile in QUANTILES)
    page([_targets(layout, shown, prepared, rows[len(rows) // 2])], maps)
    page([_predicted(shown[:MOST], prepared, rows[place]) for place in places], predictions)


def _models(study: Study, layout: Layout, found: Sequence[Result]) -> list[tuple[Result, JointModel]]:
    """The first seed of every experiment whose maps have the baseline's images and cells."""
    models = [
        (result, runs.load(layout.run(result.name, result.scored.seeds[0])).model)
        for result in sorted(found, key=lambda result: result.name != study.publish.baseline)
        if result.experiment.dataset == study.experiments[study.publish.baseline].dataset
    ]
    return [(result, model) for result, model in models if model.stride == models[0][1].stride]


def _targets(layout: Layout, shown: list[tuple[Result, JointModel]], prepared: Prepared, row: Row) -> list[Panel]:
    """One image and a map of each kind, as the counters learn from it."""
    kinds = {result.density_map: (result, model) for result, model in reversed(shown)}
    panels = []
    for result, model in list(kinds.values())[::-1][:MOST]:
        annotation = Pack(layout.maps(result.experiment.annotation))[row.number]
        truth = model.target_map(row.dots, (row.height, row.width), annotation, prepared.images[row.number])
        panels.append(counted(result.title, truth))
    return [_image(prepared, row), *panels]


def _predicted(shown: list[tuple[Result, JointModel]], prepared: Prepared, row: Row) -> list[Panel]:
    image = as_batch(prepared.images[row.number])
    maps = [(result.title, np.asarray(model.predict(image)[0, 0].cpu())) for result, model in shown]
    return [_image(prepared, row), *(counted(title, density) for title, density in maps)]


def _image(prepared: Prepared, row: Row) -> Panel:
    return Panel(f"{row.id}\n{len(row.dots)} people annotated", prepared.images[row.number])
