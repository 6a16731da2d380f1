"""How a flow ends that failed: its state in Prefect's lists, and the exit code of its command."""

from __future__ import annotations

import sys
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Failed

from components.workspace.processes import FAILED, MISTAKE

NAME = "Mistake"  # of the state, in Prefect's lists


def mistake(text: str) -> State[Any]:
    """The failed state of a flow that a user can correct."""
    return Failed(name=NAME, message=text)


def exit_if_failed(what: str, state: State[Any]) -> None:
    """Where a flow did not complete, say why on standard error, and end this process with the exit code that
    `dotfield` has for it: 2 for a mistake, 1 for all else."""
    if not state.is_completed():
        sys.stderr.write(f"{what}: {state.message}\n")
        sys.exit(MISTAKE if state.name == NAME else FAILED)
