"""The page of decisions: nights with nothing new are seen, and take one row between two decisions."""

from __future__ import annotations

from pathlib import Path

from components.publish.history import NOTHING_NEW, history_table, write_page
from components.runs.registry import Registry


def test_quiet_nights_between_two_decisions_are_one_row(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"))
    for number, outcome in enumerate((NOTHING_NEW, "NO-GO", NOTHING_NEW, NOTHING_NEW, NOTHING_NEW, "NO-GO")):
        registry.record({"outcome": outcome, "reason": f"{number} objects wait", "prefect": {"run": f"run-{number}"}})
    entries = registry.history()
    newest, quiet, older, oldest = history_table(entries).rows
    assert (newest[0], older[0]) == ("NO-GO", "NO-GO")
    first = f"{entries[2].time:%Y-%m-%d %H:%M}"
    assert (quiet[0], quiet[6], quiet[7]) == (NOTHING_NEW, f"3 nights, the first on {first}", "Prefect run-4")
    assert (oldest[0], oldest[6]) == (NOTHING_NEW, "0 objects wait")
    write_page(entries, "registry", tmp_path / "page.html")
    assert (
        "Decisions: 2, of which 0 put a counter in use. Nights with nothing new: 4."
        in (tmp_path / "page.html").read_text()
    )
