"""Search over one experiment's options: `python -m components.stages.search STUDY SEARCH`.

Writes a row for each trial, and the best values, to be copied into the experiment. The state of an unfinished search
is kept under its fingerprint, as that of training is (`components/stages/train.py`)."""

from __future__ import annotations

import logging

from components.config.load import read_entry
from components.config.search import Search
from components.runs.provenance import data_sha256, fingerprint
from components.training import ray_train
from components.training.assemble import open_data
from components.training.ray_tune import run_search, write_trials
from components.workspace.layout import Layout
from components.workspace.lock import exclusive_lock, storage
from components.workspace.processes import run_stage
from components.workspace.settings import plan_of, read_experiment

log = logging.getLogger(__name__)


def search(layout: Layout, name: str) -> None:
    """Run `searches.<name>`. Raises UserError: see `plan_of` and `run_search`."""
    options = read_entry(Search, layout.settings("searches", name))
    plan, annotation = plan_of(layout, options.experiment), read_experiment(layout, options.experiment).annotation
    prepared, maps = layout.prepared(plan.dataset), layout.maps(annotation)
    data = open_data(prepared.folder, maps)
    run = fingerprint("search", plan, options.model_dump(mode="json"), data_sha256(prepared, maps))
    place = f"{storage()}/searches"
    with exclusive_lock(run):
        trials = run_search(plan, options, data, storage=place, name=run, title=name)
    best = write_trials(layout.search(name), options.experiment, trials)
    log.info("best: trial %d, val_mae %.4g: %s", best.trial, best.val_mae, layout.search(name).best)
    ray_train.forget(place, run)


if __name__ == "__main__":
    run_stage(search, "search")
