"""What follows from the gate's answer: the candidate is put in use, or not, and the ledger says why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.gate.verdict import Verdict
from components.runs.ledger import Entry
from components.runs.registry import Registry


def carry_out(verdict: Verdict, registry: Registry, file: Path, card: Path, facts: Mapping[str, Any]) -> Entry:
    """Put the candidate in `file`, with its model card, in use if the gate says GO; the ledger gets the gate's answer
    and `facts` in any case.

    Raises UserError: another counter is in use than the one that the gate compared it with."""
    decision = {
        "outcome": verdict.outcome,
        "reason": "; ".join(verdict.reasons()) or "every check that counts passed",
        "before": verdict.current,
        "candidate": verdict.candidate,
        "gate": verdict.as_json(),
        **facts,
    }
    if verdict.outcome != "GO":
        return registry.record(decision)
    return registry.deploy(registry.add(file, card.read_text()), decision, verdict.current)
