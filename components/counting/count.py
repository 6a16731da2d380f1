"""Counting on many pictures: several are decoded and counted at once, and results come in the pictures' order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from components.config.study import Averaging
from components.counting.overlay import draw_overlay
from components.counting.pictures import Picture
from components.counting.zones import Ground, Zone, fit, zone_shares
from components.errors import UserError
from components.runs.predictor import Predictor

LONGEST_STEM = 50  # letters, of at most four bytes: names of files hold 255


@dataclass(frozen=True)
class Count:
    """What one picture shows, or why it could not be counted; `width` and `height` in pixels of the upright picture.

    `zones` are people in each zone; `densities` people per square metre of its ground, where the ground is known."""

    picture: str
    frame: int | None = None
    seconds: float | None = None
    width: int | None = None
    height: int | None = None
    count: float | None = None
    zones: dict[str, float] = field(default_factory=dict)
    densities: dict[str, float] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Job:
    """How pictures are counted. `averaging` are options of `Predictor.density`; pictures with their density are drawn
    into the folder `overlay`."""

    predictor: Predictor
    zones: Sequence[Zone] = ()
    ground: Ground | None = None
    averaging: Averaging = field(default_factory=Averaging)
    overlay: Path | None = None

    @property
    def all_zones(self) -> Sequence[Zone]:
        """The zones; without any, the rectangle on the ground if it is known."""
        if self.zones or self.ground is None:
            return self.zones
        return [Zone("ground", self.ground.quadrilateral)]

    def count(self, picture: Picture, number: int) -> Count:
        """The count of the picture with this number in the row, from 1."""
        try:
            return self._count(picture, number)
        except UserError as error:
            text = str(error).encode(errors="backslashreplace").decode()  # as the picture's name is
            what = text.removeprefix(f"{picture.name}: ")
            return Count(picture.name, picture.frame, picture.seconds, error=f"{picture.name}: {what}")

    def _count(self, picture: Picture, number: int) -> Count:
        pixels = picture.read()
        size = (pixels.shape[1], pixels.shape[0])
        density = self.predictor.density(pixels, flip=self.averaging.flip, scales=self.averaging.scales)
        cells = self.predictor.cell_size(size)
        areas = {zone.name: fit(zone, size) for zone in self.all_zones}
        people = {
            name: float((zone_shares(area, size, density.shape, cells, name) * density).sum())
            for name, area in areas.items()
        }
        densities = {}
        if self.ground:
            densities = {name: people[name] / self.ground.square_metres(area, name) for name, area in areas.items()}
        if self.overlay is not None:
            file = self.overlay / f"{number:06d}-{Path(picture.name).stem[:LONGEST_STEM]}.png"
            draw_overlay(file, pixels, density, cells, areas, people)
        return Count(
            picture.name, picture.frame, picture.seconds, *size, float(density.sum(dtype=np.float64)), people, densities
        )


def count_pictures(job: Job, pictures: Iterable[Picture], workers: int | None = None) -> Iterator[Count]:
    """The counts, in order: those that are ready are given whenever another picture has come, so that the frames of a
    stream do not wait. At most two pictures a worker are held at once, however many there are.

    Each of `workers` threads (none: as many as processors) computes on one processor, which counts more pictures in a
    second than all processors on one picture at a time."""
    workers = workers or len(os.sched_getaffinity(0))
    waiting: deque[Future[Count]] = deque()
    with ThreadPoolExecutor(workers, "count", initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for number, picture in enumerate(pictures, 1):
            waiting.append(pool.submit(job.count, picture, number))
            while waiting and (len(waiting) > 2 * workers or waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
