"""The history of deployed counters, from the registry's ledger: a table, and a page of its own.

Each decision names the pictures, the versions and the runs that it rests on, so that one finds each from any other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from components.evaluation.statistics import Estimate
from components.publish import report
from components.publish.report import Report, Section
from components.publish.tables import Cell, EstimateCell, Table
from components.runs.ledger import Entry

NOTHING_NEW = "NOTHING NEW"  # the outcome of a night in which no picture arrived
NONE = "-"
SHORT = 12  # characters of a hash


def history_table(entries: Sequence[Entry]) -> Table:
    """A row for each decision, the newest first, and one for the nights between two of them with nothing new."""
    head = ("Decision", "Time (UTC)", "Counter before", "Counter after", "MAE", "Data", "Reason", "Made by")
    notes = (
        "MAE: the candidate's on the gate's held-out images, and what it is more than that of the counter in use; the "
        "bounds are each one-sided, with the confidence of the gate's policy.",
        "Data: the version of the raw data set (DVC's hash), its images, and how many of them were new.",
        "Made by: where to find what led to the decision: the run in Prefect and in Ray, the commit and hash of the "
        "lock file.",
    )
    rows = tuple(_rows(entries[::-1]))
    return Table("history", "Decisions on the counter in use, the newest first", head, rows, notes)


def write_page(entries: Sequence[Entry], address: str, target: Path) -> None:
    """One HTML file that loads nothing from the network."""
    used = entries[-1].current if entries else None
    finding = "No counter was deployed yet."
    if used is not None:
        finding = f"In use: counter {used.counter[:SHORT]}, since {used.since:%Y-%m-%d %H:%M} UTC."
    deployed, quiet = sum(entry.action != "record" for entry in entries), sum(map(is_quiet, entries))
    about = (
        f"Registry: {address}. Decisions: {len(entries) - quiet}, of which {deployed} put a counter in use. "
        f"Nights with nothing new: {quiet}."
    )
    sections = (Section("Decisions", tables=(history_table(entries),)),) if entries else ()
    report.write(Report("History of deployed counters", about, finding, sections), target)


def is_quiet(entry: Entry) -> bool:
    """Whether an entry says that a night found nothing new."""
    return entry.decision.get("outcome") == NOTHING_NEW


def _rows(entries: Sequence[Entry]) -> Iterator[tuple[Cell, ...]]:
    """Of entries from the newest to the oldest."""
    for quiet, group in groupby(entries, is_quiet):
        rows, found = map(_row, nights := [*group]), len(nights)
        if quiet and found > 1:
            *before, _, made_by = next(rows)
            yield (*before, f"{found} nights, the first on {nights[-1].time:%Y-%m-%d %H:%M}", made_by)
        else:
            yield from rows


def _row(entry: Entry) -> tuple[Cell, ...]:
    decision = entry.decision
    by_hand = {"deploy": "deployed by hand", "rollback": "rolled back"}
    before = entry.previous if entry.action != "record" else entry.current
    return (
        str(decision.get("outcome") or by_hand.get(entry.action, NONE)),
        f"{entry.time:%Y-%m-%d %H:%M}",
        before.counter[:SHORT] if before else NONE,
        entry.current.counter[:SHORT] if entry.current else NONE,
        _mae(decision),
        _data(decision.get("data")),
        str(decision.get("reason") or NONE),
        _made_by(decision),
    )


def _mae(decision: dict[str, Any]) -> str:
    """Of what the gate measured."""
    metrics = (decision.get("gate") or {}).get("metrics") or {}
    if metrics.get("mae") is None:
        return NONE
    mae = EstimateCell(Estimate(metrics["mae"], *metrics["mae_bounds"]), 2)
    difference = metrics.get("difference")
    compared = f"; {EstimateCell(Estimate(*difference), 2, signed=True)}" if difference else ""
    return f"{mae}{compared}"


def _data(data: Any) -> str:
    if not isinstance(data, dict):
        return NONE
    return f"{str(data.get('version'))[:SHORT]}: {data.get('images')} images, {data.get('new')} new"


def _made_by(decision: dict[str, Any]) -> str:
    """The names of what led to a decision, by which each is found."""
    prefect = decision.get("prefect") or {}
    parts = {
        "Prefect": " ".join(filter(None, (prefect.get("name"), prefect.get("run")))),
        "Ray": decision.get("ray"),
        "commit": str(decision.get("commit") or "")[:SHORT],
        "dvc.lock": str(decision.get("dvc_lock") or "")[:SHORT],
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items() if value) or NONE
