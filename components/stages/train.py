"""Train one experiment with each of its seeds: `python -m components.stages.train STUDY EXPERIMENT`.

DVC deletes a stage's outputs before it runs, so what is needed to resume lies elsewhere, under the fingerprint of params,
data and code: an interrupted stage goes on where it was, a changed one starts afresh. It is removed when all seeds are
done. `DOTFIELD_STORAGE` says where: a folder (`.dotfield` by default) or an address such as s3://bucket/path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from components.evaluation.score import as_batch
from components.packing import Pack
from components.params import Study
from components.prepared import Prepared
from components.publish import figures
from components.stages._command import entry, run
from components.stages._layout import Layout
from components.stages._progress import Epochs
from components.stages._record import data_files, fingerprint, record
from components.training import distributed, runs
from components.training.plan import Plan, plan

LOCKS = Path(".dotfield/locks")
WAIT = 30  # seconds for another process to let go: a stage whose parent died does so within two
EXAMPLES = 4


def train(study: Study, layout: Layout, name: str) -> None:
    """Write the runs of one experiment. Raises ValueError: see `plan` and `samples`."""
    entry(study.experiments, name, "experiments", study)
    resolved = plan(study, name)
    prepared, maps = layout.prepared(resolved.dataset), layout.maps(study.experiments[name].annotation)
    files = data_files(prepared, maps)
    seeds = study.experiments[name].seeds
    prints = {seed: fingerprint([resolved.model_dump(mode="json"), seed], files) for seed in seeds}
    with distributed.cluster():
        for seed, mark in prints.items():
            _train_seed(resolved, seed, prepared, maps, layout.run(name, seed), mark)
    for mark in prints.values():
        distributed.forget(storage(), mark)


def storage() -> str:
    """Where the state of unfinished training lies."""
    return os.environ.get("DOTFIELD_STORAGE", ".dotfield") + "/training"


@contextmanager
def alone(mark: str) -> Iterator[None]:
    """Let one process at a time train under a fingerprint. Raises ValueError where another one does."""
    LOCKS.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(LOCKS / f"{mark}.lock", timeout=WAIT):
            yield
    except Timeout:
        raise ValueError(f"another process trains this run ({LOCKS / mark}.lock is held); end it, or wait") from None


def _train_seed(resolved: Plan, seed: int, prepared: Path, maps: Path, folder: Path, mark: str) -> None:
    progress = Epochs(f"{resolved.experiment}, seed {seed}", resolved.training.epochs)
    with alone(mark):
        state, started_from = distributed.train(
            resolved, seed, prepared, maps, storage=storage(), name=mark, progress=progress
        )
    progress.close()
    written = record(resolved, seed, state, started_from, data_files(prepared, maps), _size(prepared))
    runs.save(folder, resolved, state, written)
    for alarm in state["alarms"]:
        print(f"{resolved.experiment}, seed {seed}: warning: {alarm}", flush=True)
    _draw(folder, Prepared(prepared), Pack(maps))


def _size(prepared: Path) -> str:
    """The images' size in words: `256 x 192`, or their range."""
    widths, heights = zip(*((row.width, row.height) for row in Prepared(prepared).rows), strict=True)
    spans = [f"{min(each)}" if min(each) == max(each) else f"{min(each)}-{max(each)}" for each in (widths, heights)]
    return " x ".join(spans)


def _draw(folder: Path, prepared: Prepared, maps: Pack) -> None:
    """The curves, and a page of predictions beside what the counter was to learn, on validation images."""
    model = runs.load(folder).model
    figures.curves(folder / "metrics.csv", folder / "curves.png")
    rows = prepared.split("val")[:EXAMPLES]
    images = [prepared.images[row.number] for row in rows]
    truths = [model.target_map(row.dots, (row.height, row.width), maps[row.number]) for row in rows]
    predicted = [model.predict(as_batch(image))[0, 0].cpu().numpy() for image in images]
    figures.predictions(
        [(row.id, *rest) for row, *rest in zip(rows, images, truths, predicted, strict=True)],
        folder / "predictions.png",
    )


if __name__ == "__main__":
    run(train, "study", "experiment")
