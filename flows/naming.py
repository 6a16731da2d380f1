"""How a run of a flow is called in Prefect's lists, and how it is found there."""

from __future__ import annotations

from prefect.runtime import flow_run


def run_name() -> str:
    """`2026-11-27 02:00 demo refined`: when the run was due (UTC), and the words among its parameters."""
    words = [value for value in flow_run.parameters.values() if isinstance(value, str)]
    return " ".join((f"{flow_run.scheduled_start_time:%Y-%m-%d %H:%M}", *words))


def prefect_run() -> dict[str, str]:
    """The id and the name of the run, for the ledger."""
    return {"run": str(flow_run.id), "name": str(flow_run.name)}
