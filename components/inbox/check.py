"""The raw data set with its new pictures, checked before anything is made of it: the data report as a gate.

What is compared with the pictures before are those that the last version of the data set did not have."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import ks_2samp

from components.config.retrain import Retrain
from components.data.inspect import Inspected, inspect, report_of
from components.inbox.examine import camera_of
from components.inbox.ingest import Ingested
from components.inbox.raw_set import RawSet
from components.workspace.atomic import read_lines, write_atomically
from components.workspace.layout import InboxPaths

FEWEST = 10  # pictures, of which a share or a distribution says something
BEYOND_CHANCE = 0.01  # the largest p of a drift that is believed

Images = list[dict[str, Any]]  # of each: id, people, pixels, camera


class DataCheck(NamedTuple):
    """One thing that was looked at; `limit` None: it is only said."""

    id: str
    value: float | None
    limit: float | None
    words: str

    @property
    def passed(self) -> bool:
        return self.value is None or self.limit is None or self.value <= self.limit


class Checked(NamedTuple):
    """The checks, and the images of the data set as it is now."""

    checks: list[DataCheck]
    images: Images
    new: int

    @property
    def failed(self) -> list[DataCheck]:
        return [check for check in self.checks if not check.passed]


def check_accepted(settings: Retrain, raw: RawSet, paths: InboxPaths, ingested: Ingested) -> Checked:
    """Read the whole raw data set as the prepare stage does, and write the report. Raises UserError: it is unusable."""
    found = inspect(raw.source, str(raw.root))
    images = [_image(row, settings) for row in found.rows]
    before = read_lines(paths.version)
    known = {image["id"] for image in before}
    new = [image for image in images if image["id"] not in known]
    tolerance = settings.tolerance
    checks = [
        _refused(ingested, tolerance.refused),
        _lost(found, tolerance.lost),
        _drift("people per picture", "people", new, before, tolerance.counts),
        _drift("pixels per picture", "pixels", new, before, tolerance.sizes),
        _cameras(new, before, tolerance.new_cameras),
        _leaks(found),
    ]
    report = {"checks": [check._asdict() | {"passed": check.passed} for check in checks]}
    contents = json.dumps(report | report_of(found, str(raw.root)), indent=2)
    write_atomically(paths.report, f"{contents}\n".encode())
    return Checked(checks, images, len(new))


def keep_version(paths: InboxPaths) -> None:
    """Compare the next pictures with the version that was made last, if there is one; what was taken or refused until
    now is decided on."""
    paths.undecided.unlink(missing_ok=True)
    if paths.new_version.exists():
        paths.new_version.replace(paths.version)


def _image(row: dict[str, Any], settings: Retrain) -> dict[str, Any]:
    camera = camera_of(row["id"], settings.camera)
    return {"id": row["id"], "people": len(row["x"]), "pixels": row["width"] * row["height"], "camera": camera}


def _refused(ingested: Ingested, limit: float) -> DataCheck:
    refused, every = ingested.undecided_refused, len(ingested.undecided)
    words = f"{refused} of {every} new objects were refused"
    return DataCheck("refused", refused / every if every >= FEWEST else None, limit, words)


def _lost(found: Inspected, limit: float) -> DataCheck:
    every, kept = found.raw["all"]["images"], len(found.rows)
    first = next((f"; first: {problem.file} {problem.what}" for problem in found.problems if problem.lost), "")
    return DataCheck("lost", 1 - kept / every, limit, f"{every - kept} of {every} images cannot be used{first}")


def _drift(what: str, key: str, new: Images, before: Images, limit: float | None) -> DataCheck:
    """The Kolmogorov-Smirnov distance of new images from those before."""
    if min(len(new), len(before)) < FEWEST:
        words = f"{what}: too few to compare ({len(new)} new, {len(before)} before)"
        return DataCheck(f"drift-{key}", None, limit, words)
    now, then = (np.array([image[key] for image in images], np.float64) for images in (new, before))
    test = ks_2samp(now, then, method="asymp")
    words = f"{what}: median {np.median(now):g}, before {np.median(then):g} (p = {test.pvalue:.2g})"
    value = float(test.statistic) if test.pvalue < BEYOND_CHANCE else 0.0
    return DataCheck(f"drift-{key}", value, limit, words)


def _cameras(new: Images, before: Images, limit: int | None) -> DataCheck:
    if not before:
        return DataCheck("new-cameras", None, limit, "cameras: none to compare with")
    unknown = sorted({image["camera"] for image in new} - {image["camera"] for image in before})
    words = f"cameras never seen before: {', '.join(unknown[:5]) or 'none'}"
    return DataCheck("new-cameras", len(unknown), limit, words)


def _leaks(found: Inspected) -> DataCheck:
    """Copies of held-out images, which the prepare stage drops from the training images."""
    copies = [problem for problem in found.problems if problem.id == "copy-dropped"]
    first = f"; first: {copies[0].file} {copies[0].what}" if copies else ""
    return DataCheck("leaks", len(copies), None, f"{len(copies)} copies of held-out images are left out{first}")
