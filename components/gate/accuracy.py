"""Checks with labels: the errors on all held-out images, on parts of them, and other numbers of counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from components.evaluation.statistics import Estimate
from components.gate.held_out import Measured
from components.gate.policy import Accuracy, Supporting
from components.gate.statistics import clustered_mean
from components.gate.verdict import Check, at_most

Tier = Literal["critical", "supporting"]


class Range(NamedTuple):
    """Images with more than `above` and at most `most` people."""

    above: float
    most: float
    name: str


RANGES = (
    Range(-1, 0, "nobody"),
    Range(0, 50, "1 to 50"),
    Range(50, 200, "51 to 200"),
    Range(200, 1000, "201 to 1000"),
    Range(1000, np.inf, "more than 1000"),
)


def missing(id: str, why: str, tier: Tier = "supporting") -> Check:
    return Check(id, tier, "missing", None, None, why)


def paired_errors(measured: Measured, options: Accuracy) -> Iterator[Check]:
    """Critical: the mean difference of the absolute errors, paired by image, and its upper bound."""
    ours, theirs = measured.errors(), measured.errors(current=True)
    if len(ours) < options.fewest_pairs:
        few = f"{len(ours)} held-out images; at least {options.fewest_pairs} are needed"
        yield Check("mae", "critical", "insufficient", None, None, few)
        return
    difference = estimate(ours - theirs, measured.cameras, options)
    mae, used = float(ours.mean()), float(theirs.mean())
    words = f"MAE {mae:.2f}, of the counter in use {used:.2f}: {difference.value:+.2f}"
    better = difference.value < 0
    yield Check(
        "mae:better", "critical", "pass" if better else "fail", difference.value, 0.0, f"{words}; must be lower"
    )
    limit = options.tolerance * used
    bound = f"{difference.high:+.2f} at most, with {options.confidence:.0%} confidence; allowed {limit:+.2f}"
    yield at_most("mae:bound", "critical", difference.high, limit, f"{bound}; {_drawn(measured, options)}")


def first_errors(measured: Measured, options: Accuracy) -> Check:
    """Critical where no counter is in use: the upper bound of MAE beside the mean count."""
    errors = measured.errors()
    if len(errors) < options.fewest_pairs:
        few = f"{len(errors)} held-out images; at least {options.fewest_pairs} are needed"
        return Check("mae", "critical", "insufficient", None, None, few)
    mae, people = estimate(errors, measured.cameras, options), float(measured.candidate.truth.mean())
    limit = options.first * people
    words = (
        f"no counter is in use; MAE {mae.value:.2f}, {mae.high:.2f} at most, with {options.confidence:.0%} confidence"
    )
    return at_most("mae:first", "critical", mae.high, limit, f"{words}; allowed {limit:.2f} of {people:.1f} people")


def parts(measured: Measured, accuracy: Accuracy, options: Supporting) -> Iterator[Check]:
    """Supporting: images by how many people they show, and by camera."""
    truth, cameras = measured.candidate.truth, np.array(measured.cameras)
    for each in RANGES:
        inside = (truth > each.above) & (truth <= each.most)
        yield _part(f"density:{each.name}", inside, measured, accuracy, options.part)
    if not any(measured.cameras):
        yield missing("camera", "the held-out images name no cameras; set held_out.camera")
        return
    for name in sorted(set(measured.cameras)):
        yield _part(f"camera:{name or 'none named'}", cameras == name, measured, accuracy, options.part)


def _part(id: str, inside: np.ndarray, measured: Measured, accuracy: Accuracy, share: float) -> Check:
    """Fails where the candidate is worse by more than a share of the current MAE there, and that is beyond noise."""
    number = int(inside.sum())
    if number == 0:
        return missing(id, "no held-out image is of this part")
    if number < accuracy.fewest_pairs:
        few = f"{number} images; {accuracy.fewest_pairs} are needed"
        return Check(id, "supporting", "insufficient", None, None, few)
    names = [camera for camera, kept in zip(measured.cameras, inside, strict=True) if kept]
    theirs = measured.errors(current=True)[inside]
    difference = estimate(measured.errors()[inside] - theirs, names, accuracy)
    words = f"{number} images: MAE {difference.value:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]"
    return _worse(id, difference, share * float(theirs.mean()), words)


def game(measured: Measured, accuracy: Accuracy, options: Supporting) -> Check:
    """Supporting: whether people are seen where they are."""
    id, level = f"game:{options.game_level}", options.game_level
    assert measured.current is not None
    ours, theirs = (scores.game[0, :, level] for scores in (measured.candidate, measured.current))
    if len(ours) < accuracy.fewest_pairs:
        return Check(id, "supporting", "insufficient", None, None, f"{len(ours)} images")
    difference = estimate(ours - theirs, measured.cameras, accuracy)
    words = f"GAME({level}) {ours.mean():.2f}, of the counter in use {theirs.mean():.2f}"
    return _worse(id, difference, options.game * float(theirs.mean()), words)


def bias(measured: Measured, accuracy: Accuracy, options: Supporting) -> Check:
    """Supporting: all people counted, beside all that are there. A counter that is no worse than the one in use
    passes."""
    total = float(measured.candidate.truth.sum())
    if total == 0:
        return missing("bias", "the held-out images show nobody")
    if len(measured.files) < accuracy.fewest_pairs:
        return Check("bias", "supporting", "insufficient", None, None, f"{len(measured.files)} images")
    ours = float(measured.candidate.prediction.sum()) / total - 1
    theirs = 0.0 if measured.current is None else float(measured.current.prediction.sum()) / total - 1
    words = f"counts {ours:+.1%} of all people" + ("" if measured.current is None else f", in use {theirs:+.1%}")
    return at_most("bias", "supporting", abs(ours), max(options.bias, abs(theirs)), words)


def empty(measured: Measured, accuracy: Accuracy, options: Supporting) -> Check:
    """Supporting: people seen where there is nobody."""
    nobody = measured.candidate.truth == 0
    number = int(nobody.sum())
    if number == 0:
        return missing("empty", "no held-out image shows nobody")
    if number < accuracy.fewest_pairs:
        return Check("empty", "supporting", "insufficient", None, None, f"{number} images without people")
    ours = float(measured.errors()[nobody].mean())
    theirs = 0.0 if measured.current is None else float(measured.errors(current=True)[nobody].mean())
    words = f"{ours:.2f} people seen in an image without any"
    words += "" if measured.current is None else f", in use {theirs:.2f}"
    return at_most("empty", "supporting", ours, max(options.empty, theirs), words)


def _worse(id: str, difference: Estimate, limit: float, words: str) -> Check:
    """Fails where a difference is above its limit, and above zero beyond noise; or is not a number."""
    fine = difference.value <= limit or difference.low <= 0
    return Check(id, "supporting", "pass" if fine else "fail", difference.value, limit, words)


def estimate(values: np.ndarray, cameras: tuple[str, ...] | list[str], options: Accuracy) -> Estimate:
    return clustered_mean(values, _clusters(cameras), options.confidence, options.fewest_cameras)


def _clusters(cameras: tuple[str, ...] | list[str]) -> list[str]:
    """What the bootstrap draws: cameras, and images of which no camera is known."""
    return [camera or f"image {number}" for number, camera in enumerate(cameras)]


def _drawn(measured: Measured, options: Accuracy) -> str:
    """Of what the bootstrap draws."""
    cameras, images = len(set(measured.cameras) - {""}), measured.cameras.count("")
    few = len(set(_clusters(measured.cameras))) < options.fewest_cameras
    known = [f"{'the images of ' if few else ''}{cameras} cameras"] if cameras else []
    unknown = [f"{images} images of unknown cameras"] if images else []
    return f"over {' and '.join(known + unknown)}{': it says nothing of others' if few else ''}"
