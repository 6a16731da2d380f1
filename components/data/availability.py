"""Whether raw data is there, asked before anything runs: DVC would only say that a dependency is missing."""

from __future__ import annotations

from components.config import plugins
from components.config.options import Options
from components.config.study import DatasetEntry, Study
from components.errors import UserError


def options(entry: DatasetEntry, where: str) -> Options:
    """The options of a data set. Raises UserError: a mistake in them, or there is no such folder."""
    chosen = plugins.resolve("dataset", entry.source, where)
    root = getattr(chosen, "root", None)
    if root is not None and not root.is_dir():
        raise UserError(f"{where}: root: there is no folder {root}; {plugins.obtain(entry.source.kind)}")
    return chosen


def require(study: Study, file: str) -> None:
    """Raises UserError with a line for each data set whose folder is not there."""
    if found := missing(study, file):
        raise UserError("\n".join(found))


def missing(study: Study, file: str) -> list[str]:
    """A line for each data set whose folder is not there."""
    found = []
    for name, entry in study.datasets.items():
        try:
            options(entry, f"{file}: datasets.{name}.source")
        except UserError as error:
            found.append(str(error))
    return found
