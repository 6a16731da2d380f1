"""Read and check one raw data set: `python -m components.stages.prepare STUDY DATASET`."""

from __future__ import annotations

from components.config.load import read_entry
from components.config.study import DatasetEntry
from components.data.prepare import prepare_dataset
from components.workspace.layout import Layout
from components.workspace.processes import run_stage


def prepare(layout: Layout, name: str) -> None:
    """Write the manifest, the packed images and the report of one data set. Raises UserError: see
    `prepare_dataset`."""
    entry = read_entry(DatasetEntry, layout.settings("datasets", name))
    prepare_dataset(entry, f"{layout.params}: datasets.{name}", f"Data set {name}", layout.prepared(name).folder)


if __name__ == "__main__":
    run_stage(prepare, "dataset")
