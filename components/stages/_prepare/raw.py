"""Whether raw data is there, asked before anything runs: DVC would only say that a dependency is missing."""

from __future__ import annotations

from components import plugins
from components.options import Options
from components.params import DatasetEntry, Study


def options(entry: DatasetEntry, where: str) -> Options:
    """The options of a data set. Raises ValueError: a mistake in them, or there is no such folder."""
    chosen = plugins.resolve("dataset", entry.source, where)
    root = getattr(chosen, "root", None)
    if root is not None and not root.is_dir():
        raise ValueError(f"{where}: root: there is no folder {root}; {plugins.obtain(entry.source.kind)}")
    return chosen


def require(study: Study, file: str) -> None:
    """Raises ValueError with a line for each data set whose folder is not there."""
    if found := missing(study, file):
        raise ValueError("\n".join(found))


def missing(study: Study, file: str) -> list[str]:
    """A line for each data set whose folder is not there."""
    found = []
    for name, entry in study.datasets.items():
        try:
            options(entry, f"{file}: datasets.{name}.source")
        except ValueError as error:
            found.append(str(error))
    return found
