"""What the gate says: checks, and the outcome that follows from them.

Tiers and the three outcomes are those of NVIDIA NeMo Evaluator's gate policies: a critical check that fails is a NO-GO,
one that cannot be made leaves the answer open; supporting checks explain, and block where the policy says so."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["GO", "NO-GO", "INCONCLUSIVE"]
EXIT_CODES: dict[Outcome, int] = {"GO": 0, "NO-GO": 1, "INCONCLUSIVE": 2}


@dataclass(frozen=True)
class Check:
    """One check. `id` is its group, or `GROUP:PART`. "insufficient": too few images; "missing": cannot be measured."""

    id: str
    tier: Literal["critical", "supporting"]
    verdict: Literal["pass", "fail", "insufficient", "missing"]
    value: float | None
    limit: float | None
    words: str

    @property
    def group(self) -> str:
        return self.id.partition(":")[0]


@dataclass(frozen=True)
class Verdict:
    """The gate's answer. `candidate`, `current` and `held_out` are SHA-256: of the weights, and of the images with
    their dots. `blocking` are the groups of supporting checks that could say NO-GO. `metrics` are numbers for tables
    and histories."""

    outcome: Outcome
    checks: tuple[Check, ...]
    candidate: str
    current: str | None
    held_out: str | None
    blocking: tuple[str, ...]
    metrics: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Plain data that JSON can hold: a number that is not finite is None."""
        plain: dict[str, Any] = _finite(asdict(self) | {"checks": [asdict(check) for check in self.checks]})
        return plain

    def reasons(self) -> list[str]:
        """Why the outcome is not GO: the words of the checks that decided it."""
        critical = [check for check in self.checks if check.tier == "critical"]
        blocking = [check for check in self.checks if check.tier == "supporting" and check.group in self.blocking]
        decisive = {
            "GO": [],
            "NO-GO": [check for check in critical + blocking if check.verdict == "fail"],
            "INCONCLUSIVE": [check for check in critical if check.verdict in ("insufficient", "missing")],
        }[self.outcome]
        return [f"{check.id}: {check.words}" for check in decisive]


def at_most(id: str, tier: Literal["critical", "supporting"], value: float, limit: float, words: str) -> Check:
    """A check that passes where `value` is at most `limit`; a value that is not a number fails."""
    return Check(id, tier, "pass" if value <= limit else "fail", value, limit, words)


def outcome(checks: Sequence[Check], blocking: Collection[str]) -> Outcome:
    """GO, unless a critical check fails or one of a blocking group (NO-GO), or a critical one could not be made."""
    critical = [check.verdict for check in checks if check.tier == "critical"]
    blocked = any(check.verdict == "fail" and check.group in blocking for check in checks if check.tier == "supporting")
    if "fail" in critical or blocked:
        return "NO-GO"
    return "INCONCLUSIVE" if {"insufficient", "missing"} & {*critical} else "GO"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
