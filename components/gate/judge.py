"""The gate: every check of a candidate, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np

from components.counting.pictures import find_pictures
from components.datasets import synthetic
from components.errors import UserError
from components.gate import accuracy
from components.gate.accuracy import missing
from components.gate.cost import costs
from components.gate.held_out import Measured, measure
from components.gate.leaks import leaks
from components.gate.policy import Policy, Supporting
from components.gate.sanity import sanity
from components.gate.verdict import Check, Verdict, at_most, outcome
from components.runs.folder import Weights, read_weights
from components.runs.predictor import Predictor
from components.runs.registry import Registry
from components.workspace.layout import GATE
from components.workspace.sources import hash_file


def judge(
    candidate: Path, current: Path | None, policy: Policy, registry: Registry | None = None, where: str = str(GATE)
) -> Verdict:
    """Whether the counter of the weights file `candidate` should replace that of `current` (None: none is in use).

    Every answer about the same held-out images is counted in the registry, if there is one. `where` names the policy in
    errors. Raises UserError: see `read_weights` and `measure`."""
    weights = read_weights(candidate)
    ours, theirs = Predictor(weights), None if current is None else Predictor(read_weights(current))
    measured = None
    if policy.held_out is not None:
        measured = measure(policy.held_out, ours, theirs, policy.sanity.images, where)
    images = _made_images(policy.sanity.images) if measured is None else measured.shown
    checks = [*sanity(ours, theirs, images, policy.sanity), *_labelled(weights, measured, policy)]
    if theirs is not None:
        checks += costs(ours, theirs, images, policy.costs)
        checks += _disagreement(ours, theirs, policy.supporting)
    hashes = hash_file(candidate), None if current is None else hash_file(current)
    if measured is not None and registry is not None:
        checks.append(_questions(registry, measured, hashes[0], policy.supporting))
    blocking = policy.supporting.blocking if theirs else ()
    return Verdict(
        outcome(checks, blocking),
        tuple(checks),
        *hashes,
        None if measured is None else measured.sha256,
        blocking,
        {} if measured is None else _metrics(measured, policy),
    )


def _labelled(weights: Weights, measured: Measured | None, policy: Policy) -> Iterator[Check]:
    if measured is None:
        yield missing("mae", "there are no held-out images; set held_out", "critical")
        return
    yield leaks(weights, measured, policy.leaks)
    if measured.current is None:
        yield accuracy.first_errors(measured, policy.accuracy)
    else:
        yield from accuracy.paired_errors(measured, policy.accuracy)
        yield from accuracy.parts(measured, policy.accuracy, policy.supporting)
        yield accuracy.game(measured, policy.accuracy, policy.supporting)
    yield accuracy.bias(measured, policy.accuracy, policy.supporting)
    yield accuracy.empty(measured, policy.accuracy, policy.supporting)


def _disagreement(ours: Predictor, theirs: Predictor, options: Supporting) -> list[Check]:
    """Supporting: how far both counters are apart on recent pictures, of which nobody knows the truth."""
    if options.recent is None:
        return []
    pictures, counts = list(find_pictures([options.recent])), []
    for picture in islice(reversed(pictures), options.recent_images):
        try:
            pixels = picture.read()
        except UserError:
            continue
        counts.append((ours.count(pixels), theirs.count(pixels)))
    if not counts:
        return [missing("disagreement", f"{options.recent}: has no picture that can be decoded")]
    new, old = np.array(counts).T
    apart = float(np.abs(new - old).sum() / np.maximum(old, 1).sum())
    words = (
        f"{len(counts)} recent pictures: counts differ by {apart:.1%}, {new.sum():.0f} people against {old.sum():.0f}"
    )
    return [at_most("disagreement", "supporting", apart, options.disagreement, words)]


def _questions(registry: Registry, measured: Measured, candidate: str, options: Supporting) -> Check:
    """Supporting: a held-out set that has chosen among many candidates favours those that it chose by luck (Dwork et
    al., "The reusable holdout", Science 2015)."""
    answers = registry.count_answer(
        measured.sha256, {"candidate": candidate, "time": datetime.now(UTC).isoformat(timespec="seconds")}
    )
    words = f"these held-out images were asked {answers} times"
    if answers > options.questions:
        words += f"; after {options.questions} they flatter the candidates: label new ones"
    return at_most("questions", "supporting", float(answers), float(options.questions), words)


def _metrics(measured: Measured, policy: Policy) -> dict[str, object]:
    """Numbers for histories: MAE of both, and the difference; the bounds are those of the policy's confidence."""
    mae = accuracy.estimate(measured.errors(), measured.cameras, policy.accuracy)
    numbers: dict[str, object] = {
        "images": len(measured.files),
        "cameras": len({*measured.cameras} - {""}),
        "people": float(measured.candidate.truth.mean()),
        "mae": mae.value,
        "mae_bounds": [mae.low, mae.high],
    }
    if measured.current is not None:
        theirs = measured.errors(current=True)
        numbers["current_mae"] = float(theirs.mean())
        numbers["difference"] = list(accuracy.estimate(measured.errors() - theirs, measured.cameras, policy.accuracy))
    return numbers


def _made_images(number: int) -> list[np.ndarray]:
    return [synthetic.scene(synthetic.Params(high=100), each)[0] for each in range(number)]
