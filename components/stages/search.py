"""Search over one experiment's options: `python -m components.stages.search STUDY SEARCH`.

Writes trials.parquet, a row a trial, and best.yaml, the values to copy into the experiment. The state of an unfinished
search lies under its fingerprint, as that of training does (`components/stages/train.py`)."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from components.config.resolve import plan
from components.config.study import Study
from components.runs.provenance import data_files, fingerprint
from components.training import ray_train
from components.training.ray_tune import TrialResult, search
from components.workspace.layout import Layout
from components.workspace.lock import alone, storage
from components.workspace.processes import entry, run


def main(study: Study, layout: Layout, name: str) -> None:
    """Run `searches.<name>`. Raises UserError: see `plan` and `search`."""
    options = entry(study.searches, name, "searches", study)
    base = plan(study, options.experiment)
    maps = layout.maps(study.experiments[options.experiment].annotation)
    prepared = layout.prepared(base.dataset)
    asked = [base.model_dump(mode="json", exclude={"title"}), options.model_dump(mode="json")]
    mark, place = fingerprint(asked, data_files(prepared, maps)), f"{storage()}/searches"
    with alone(mark):
        say = partial(print, f"{name}:", flush=True)
        trials = search(base, options, prepared, maps, storage=place, name=mark, say=say)
    _write(layout.search(name), options.experiment, trials)
    ray_train.forget(place, mark)


def _write(folder: Path, experiment: str, trials: list[TrialResult]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_row(trial) for trial in trials]
    pq.write_table(pa.Table.from_pylist(rows), folder / "trials.parquet")
    best = min((trial for trial in trials if not math.isnan(trial.val_mae)), key=lambda trial: trial.val_mae)
    text = {"experiment": experiment, "trial": best.trial, "val_mae": best.val_mae, "values": best.values}
    (folder / "best.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
    print(f"best: trial {best.trial}, val_mae {best.val_mae:.4g}: {folder / 'best.yaml'}")


def _row(trial: TrialResult) -> dict[str, object]:
    fields = trial._asdict()
    return fields | {f"config.{key}": value for key, value in fields.pop("values").items()}


if __name__ == "__main__":
    run(main, "study", "search")
