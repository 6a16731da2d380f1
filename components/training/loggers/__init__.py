"""Loggers write the curves of a run while it trains, for tools that show them. A kind is the name of a file here.

DOTFIELD_LOGGERS lists the kinds, `tensorboard,dvclive` if it is not set, and none if it is empty. It changes no result,
so nothing is stale because of it. Each kind offers `start(folder, run, options) -> Logger`: `folder` is empty and its
own, `run` is a name for people, and `options` are those of the run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from components.errors import UserError
from components.workspace.layout import RunPaths

SETTING, DEFAULT = "DOTFIELD_LOGGERS", "tensorboard,dvclive"


class Logger(Protocol):
    """Where the curves of one run go."""

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Write what an epoch measured, so that it is seen at once. Epochs come once each, in their order."""

    def close(self) -> None:
        """The run ended, or was stopped."""


def kinds() -> list[str]:
    """Every kind of logger, in alphabetical order."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))


def chosen() -> list[str]:
    """The kinds that DOTFIELD_LOGGERS asks for. Raises UserError for one that does not exist."""
    names = [name for name in os.environ.get(SETTING, DEFAULT).replace(",", " ").split() if name]
    for name in names:
        if name not in kinds():
            raise UserError(f"{SETTING}: there is no logger {name!r}; kinds: {', '.join(kinds())}")
    return list(dict.fromkeys(names))


@contextmanager
def open_loggers(paths: RunPaths, run: str, options: Mapping[str, Any]) -> Iterator[Sequence[Logger]]:
    """The loggers of a run, each in an empty folder beside its results: what an earlier run left there is removed.

    Raises UserError: see `chosen`, or a kind is not installed."""
    with ExitStack() as stack:
        loggers: list[Logger] = []
        for kind in chosen():
            shutil.rmtree(paths.logs(kind), ignore_errors=True)
            paths.logs(kind).mkdir(parents=True)
            logger: Logger = _module(kind).start(paths.logs(kind), run, options)
            stack.callback(logger.close)
            loggers.append(logger)
        yield loggers


def _module(kind: str) -> Any:
    try:
        return import_module(f"{__name__}.{kind}")
    except ModuleNotFoundError as error:
        raise UserError(
            f"{SETTING}: {kind} needs the package {error.name}, which is not installed: "
            f"pip install 'dotfield[{kind}]', or leave {kind} out"
        ) from None
