"""Whether raw data is there, checked before anything runs: DVC would only say that a dependency is missing."""

from __future__ import annotations

from components.config import plugins
from components.config.options import Options
from components.config.resolve import paths_in
from components.config.study import DatasetEntry, Study
from components.crowd import Dataset
from components.errors import UserError


def dataset_options(entry: DatasetEntry, where: str) -> Options:
    """The options of a data set. Raises UserError: a mistake in them, or there is no such folder."""
    chosen = plugins.resolve("dataset", entry.source, where)
    root = getattr(chosen, "root", None)
    if root is not None and not root.is_dir():
        raise UserError(f"{where}: root: there is no folder {root}; {plugins.how_to_obtain(entry.source.kind)}")
    for path in paths_in(chosen):
        if not path.exists():
            raise UserError(f"{where}: there is no file {path}")
    return chosen


def open_dataset(entry: DatasetEntry, where: str) -> Dataset:
    """The raw data set of an entry. Raises UserError: see `dataset_options`, or what its reader finds wrong."""
    dataset: Dataset = plugins.build("dataset", entry.source.kind, dataset_options(entry, where))
    return dataset


def require(study: Study, file: str) -> None:
    """Raises UserError with a line for each data set whose folder is not there."""
    if found := missing(study, file):
        raise UserError("\n".join(found))


def missing(study: Study, file: str) -> list[str]:
    """A line for each data set whose folder is not there."""
    found = []
    for name, entry in study.datasets.items():
        try:
            dataset_options(entry, f"{file}: datasets.{name}.source")
        except UserError as error:
            found.append(str(error))
    return found
