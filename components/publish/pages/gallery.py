"""What the figures show: test images of one data set, and a trained model of every experiment on it.

It is the baseline's data set; where the baseline was not run, that of the first experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from components.config.study import Study
from components.crowd import CELL, Crop, apply_region_mask, block_sum
from components.data.manifest import Prepared, Row
from components.data.packed import Pack
from components.density_maps.learned.generated import Generator
from components.errors import UserError
from components.publish.figures import Panel
from components.publish.results import EvaluatedRow
from components.training.assemble import load_run
from components.training.joint import JointModel
from components.training.samples import Samples
from components.workspace.layout import Layout

MOST = 5  # maps in one row of a page


class Shown(NamedTuple):
    """An experiment and its trained model, of the first seed."""

    result: EvaluatedRow
    model: JointModel

    @property
    def title(self) -> str:
        return self.result.title

    @property
    def generator(self) -> Generator:
        assert isinstance(self.model.density_map, Generator)
        return self.model.density_map


def first_of_each(shown: Iterable[Shown], kind: Callable[[Shown], str]) -> list[Shown]:
    """The first of every kind, in their order."""
    kinds: dict[str, Shown] = {}
    for each in shown:
        kinds.setdefault(kind(each), each)
    return [*kinds.values()]


def test_rows(prepared: Prepared, result: EvaluatedRow) -> list[Row]:
    """The prepared rows of the test images, in the order of the scores. Raises UserError where one is gone."""
    by_id = {row.id: row for row in prepared.rows}
    if gone := [id for id in result.scores.ids if id not in by_id]:
        raise UserError(
            f"{prepared.folder}: image {gone[0]}, on which {result.name} was tested, is gone; run the study again"
        )
    return [by_id[id] for id in result.scores.ids]


class Gallery:
    """`shown`: the baseline first, then the others in the study's order. `rows`: test images, by number of people."""

    def __init__(self, study: Study, layout: Layout, rows: Sequence[EvaluatedRow]) -> None:
        leading = study.publish.pooled.get(study.publish.baseline, (study.publish.baseline,))[0]
        ordered = sorted(rows, key=lambda row: row.name != leading)
        dataset = ordered[0].experiment.dataset
        self.layout, self.prepared = layout, Prepared(layout.prepared(dataset).folder)
        self.rows = sorted(self.prepared.split("test"), key=lambda row: (len(row.dots), row.id))
        self.shown = [
            Shown(row, load_run(layout.run(row.name, row.scores.seeds[0])).model)
            for row in ordered
            if row.experiment.dataset == dataset
        ]

    @property
    def median(self) -> Row:
        return self.rows[len(self.rows) // 2]

    def alike(self, shown: Sequence[Shown]) -> list[Shown]:
        """Those whose maps have cells of the same size as the first one's."""
        return [each for each in shown if each.model.stride == shown[0].model.stride]

    def generators(self, **options: str) -> list[Shown]:
        """The experiments with generated maps whose generator has these options."""
        generated = [each for each in self.shown if each.result.experiment.density_map.kind == "generated"]
        wanted = options.items()
        return [each for each in generated if all(getattr(each.generator.params, key) == v for key, v in wanted)]

    def target(self, each: Shown, row: Row) -> np.ndarray:
        """The map (h, w) of one image from which an experiment's counter learns, people per cell."""
        annotation = Pack(self.layout.maps(each.result.experiment.annotation))[row.number]
        region = self.prepared.region(row, each.model.stride)
        image = self.prepared.images[row.number]
        return each.model.target_map(row.dots, (row.height, row.width), annotation, image, region)

    def annotated(self, each: Shown, row: Row) -> np.ndarray:
        """The hand-crafted map (h, w) of one image on the counter's grid, people per cell, 0 outside the region."""
        annotation = Pack(self.layout.maps(each.result.experiment.annotation))[row.number]
        people = block_sum(np.asarray(annotation), each.model.stride // CELL)
        return apply_region_mask(people, self.prepared.region(row, each.model.stride))

    def predicted(self, each: Shown, row: Row) -> np.ndarray:
        """What an experiment's counter predicts for one image, (h, w) people per cell, 0 outside the region."""
        people = each.model.predict_image(self.prepared.images[row.number])
        return apply_region_mask(people, self.prepared.region(row, each.model.stride))

    def crop(self, each: Shown, row: Row) -> Crop:
        """One whole image, as an experiment's density map reads it."""
        maps = Pack(self.layout.maps(each.result.experiment.annotation))
        test = Samples(self.prepared, maps, "test", stride=each.model.stride)
        return test.full_crop([other.id for other in test.rows].index(row.id)).to(each.model.device)

    def photograph(self, row: Row) -> Panel:
        return Panel(f"{row.id}\n{len(row.dots)} people annotated", self.prepared.images[row.number])
