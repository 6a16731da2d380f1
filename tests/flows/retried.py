"""`python -m tests.flows.retried [SETTINGS]`: a night in which every step that is retried fails once after it did its
work, as where the answer of a server was lost, and is tried again at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flows import night, retrain


def failing_once(step: Callable[..., Any]) -> Callable[..., Any]:
    done = False

    def run(*arguments: Any) -> Any:
        nonlocal done
        result = step(*arguments)
        if not done:
            done = True
            raise ConnectionError(f"{step.__name__} did its work, and fails")
        return result

    return run


for name, step in list(vars(retrain).items()):
    if getattr(step, "retries", 0):
        setattr(night, name, failing_once(getattr(night, name)))
        setattr(retrain, name, step.with_options(retry_delay_seconds=0))

if __name__ == "__main__":
    retrain.main()
