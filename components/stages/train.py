"""Train one experiment with each of its seeds: `python -m components.stages.train STUDY EXPERIMENT`.

What is needed to resume is kept until all seeds are done (`components/workspace/lock.py`). Where the map is that
of another experiment of the study, each seed takes the run with its own number."""

from __future__ import annotations

from pathlib import Path

from components.config.resolve import Plan, plan
from components.config.study import Study
from components.data.manifest import Prepared
from components.data.packed import Pack
from components.evaluation.score import as_batch, within
from components.publish import figures
from components.runs import folder as runs
from components.runs.provenance import data_files, fingerprint, of_seed, record, weights_read
from components.training import ray_train
from components.training.progress import Epochs
from components.workspace.layout import Layout
from components.workspace.lock import alone, storage
from components.workspace.processes import entry, run

EXAMPLES = 4


def train(study: Study, layout: Layout, name: str) -> None:
    """Write the runs of one experiment. Raises UserError: see `plan` and `samples`."""
    entry(study.experiments, name, "experiments", study)
    resolved = plan(study, name)
    prepared, maps = layout.prepared(resolved.dataset), layout.maps(study.experiments[name].annotation)
    files = data_files(prepared, maps)
    plans = {seed: of_seed(study, layout, name, seed) for seed in study.experiments[name].seeds}
    prints = {
        seed: fingerprint([each.model_dump(mode="json", exclude={"title"}), seed], [*files, *weights_read(each)])
        for seed, each in plans.items()
    }
    with ray_train.cluster():
        for seed, mark in prints.items():
            _train_seed(plans[seed], seed, prepared, maps, layout.run(name, seed), mark)
    for mark in prints.values():
        ray_train.forget(f"{storage()}/training", mark)


def _train_seed(resolved: Plan, seed: int, prepared: Path, maps: Path, folder: Path, mark: str) -> None:
    progress = Epochs(f"{resolved.experiment}, seed {seed}", resolved.training.epochs)
    with alone(mark):
        state, started_from = ray_train.train(
            resolved, seed, prepared, maps, storage=f"{storage()}/training", name=mark, progress=progress
        )
    progress.close()
    written = record(resolved, seed, state, started_from, data_files(prepared, maps), _size(prepared))
    runs.save(folder, resolved, state, written)
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
    examples = []
    for row in prepared.split("val")[:EXAMPLES]:
        image, region = prepared.images[row.number], prepared.region(row, model.stride)
        truth = model.target_map(row.dots, (row.height, row.width), maps[row.number], image, region)
        people = model.predict(as_batch(image))[0, 0].cpu().numpy()
        examples.append((row.id, image, truth, within(people, region)))
    figures.predictions(examples, folder / "predictions.png")


if __name__ == "__main__":
    run(train, "study", "experiment")
