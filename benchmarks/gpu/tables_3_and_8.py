"""Tables 3 and 8 of the paper for one counter at full resolution, on one GPU (or the CPU), without Ray.

    python -m benchmarks.gpu.tables_3_and_8                                                  # CSRNet, parts A and B
    python -m benchmarks.gpu.tables_3_and_8 --counter efficientnet_lite --datasets part-b
    python -m benchmarks.gpu.tables_3_and_8 --datasets part-b --limit-images 8 --epochs 1    # a try

The experiments are those of params/table-3 and params/table-8 for CSRNet, with another counter in its place if asked;
one that stands in both tables is trained once. They become a study of their own, params/tables-3-and-8-COUNTER, which
the project's stages prepare, rasterize, evaluate and publish; `dotfield publish tables-3-and-8-COUNTER` shows what is
done of it. A try ends its name with -try, and trains the first seed alone.

A run that was stopped goes on after its last epoch when the same command is given again; what is finished is not done
again. Raw data that changed are not noticed: remove out/STUDY/prepared then."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
import yaml

from components.config import plugins
from components.config.load import load_study
from components.config.options import Choice, Options, check
from components.config.resolve import Plan
from components.config.study import Experiment, MapEntry, Study
from components.crowd import SPLITS
from components.data import availability
from components.data.manifest import Prepared
from components.data.packed import select_arrays
from components.errors import UserError
from components.publish import published
from components.runs.folder import read_record
from components.runs.provenance import data_sha256, fingerprint, provenance
from components.stages.evaluate import evaluate
from components.stages.prepare import prepare
from components.stages.publish import publish
from components.stages.rasterize import rasterize
from components.stages.train import write_run
from components.training.assemble import TrainingData, assemble, load_start, open_data, samples
from components.training.epoch import Record
from components.training.fit import State, fit
from components.training.progress import EpochProgress
from components.workspace.layout import STATE, Layout, PreparedPaths
from components.workspace.lock import exclusive_lock
from components.workspace.processes import call, configure_logging
from components.workspace.settings import plan_of_seed, read_experiment, write_settings
from components.workspace.sources import code_files, hash_files

TABLES = (3, 8)
TEMPLATE, NAME = "csrnet", "CSRNet"  # the counter whose experiments are taken; its name in their titles
MADE_OF = "made-of.txt"  # in a folder of data: what it was made of, so that it is made once

OnProgress = Callable[[float, Record | None], None]

log = logging.getLogger("components.benchmarks")  # shown as what the stages log is


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--counter",
        default=TEMPLATE,
        metavar="KIND",
        help=f"a kind of counter, or with options as in a study: '{{kind: {TEMPLATE}, weights: random}}'",
    )
    parser.add_argument("--datasets", nargs="+", metavar="NAME", help="those of the studies to use: part-a, part-b")
    parser.add_argument("--limit-images", type=_positive, metavar="N", help="a try: the first N images of each split")
    parser.add_argument("--epochs", type=_positive, metavar="N", help="a try: N epochs")
    options = parser.parse_args(words)
    configure_logging()
    call("tables_3_and_8", lambda: run(options.counter, options.datasets, options.limit_images, options.epochs))


def run(counter: str, datasets: Sequence[str] | None, limit: int | None, epochs: int | None) -> Layout:
    """Train, evaluate and publish all; returns the layout of the study. Raises UserError for what users can fix."""
    layout = write_study(_choice(counter), datasets, limit, epochs)
    study = load_study(layout.params)
    write_settings(study, layout)
    for name in study.datasets:
        prepare_once(layout, study, name, limit)
    for name in study.maps:
        rasterize_once(layout, study, name)
    for name in study.experiments:
        runs = [train_once(layout, name, seed) for seed in study.experiments[name].seeds]
        evaluate_once(layout, study, name, runs)
    publish(layout)
    log.info("\n%s", layout.summary.read_text())
    return layout


def write_study(
    counter: Choice, datasets: Sequence[str] | None, limit: int | None = None, epochs: int | None = None
) -> Layout:
    """Write the `study.yaml` of the tables' experiments with this counter. Raises UserError: no such data set, or it is
    not there."""
    name = f"tables-3-and-8-{counter.kind.replace('_', '-')}{'-try' if limit or epochs else ''}"
    layout, values = Layout(name), derive_study(name, counter, datasets, limit, epochs)
    availability.require(check(Study, values, str(layout.params)), str(layout.params))
    layout.params.parent.mkdir(parents=True, exist_ok=True)
    head = "# Written by benchmarks/gpu/tables_3_and_8.py, which trains it.\n"
    layout.params.write_text(head + yaml.safe_dump(values, sort_keys=False, width=120))
    return layout


def derive_study(
    name: str, counter: Choice, datasets: Sequence[str] | None, limit: int | None, epochs: int | None
) -> dict[str, Any]:
    """The experiments of both tables for CSRNet as one study with this counter, as plain data.

    On each data set, the fixed kernel of 4 px is what the others are compared with."""
    studies, is_try = [load_study(Layout(f"table-{number}").params) for number in TABLES], bool(limit or epochs)
    sources = {key: entry for study in studies for key, entry in study.datasets.items()}
    if unknown := set(datasets or ()) - set(sources):
        raise UserError(f"--datasets {min(unknown)}: there is no such data set; data sets: {', '.join(sources)}")
    chosen: dict[tuple[str, str | None], tuple[str, Experiment, MapEntry]] = {}  # by data set and row of the paper
    for study in studies:
        for key, each in study.experiments.items():
            if each.counter.kind == TEMPLATE and each.dataset in (datasets or sources):
                chosen.setdefault((each.dataset, each.published), (key, each, study.maps[each.annotation]))
    maps: dict[str, MapEntry] = {}
    for _, each, drawn in chosen.values():
        if drawn not in maps.values():
            maps[each.annotation] = drawn
    names = {cell: key.replace(TEMPLATE, counter.kind.replace("_", "-")) for cell, (key, _, _) in chosen.items()}
    experiments = {
        names[cell]: _adapt(each, counter, next(key for key, entry in maps.items() if entry == drawn), epochs, is_try)
        for cell, (_, each, drawn) in chosen.items()
    }
    used = {dataset: sources[dataset] for dataset, _ in chosen}
    baseline, *others = [names[dataset, "fixed_4"] for dataset in used]
    return {
        "study": name,
        "title": f"Tables 3 and 8: {counter.kind}, full resolution{', a try' if is_try else ''}",
        "datasets": {key: _plain(entry) for key, entry in used.items()},
        "maps": {key: _plain(entry) for key, entry in maps.items()},
        "experiments": {key: _plain(each) for key, each in experiments.items()},
        "publish": {
            "baseline": baseline,
            "compared": {other: _beside(other, experiments) for other in others},
            "tables": [number for number, study in zip(TABLES, studies, strict=True) if {*used} & {*study.datasets}],
            "published": published.section_of(next(iter(used.values())).source) if len(used) == 1 else None,
        },
    }


def _adapt(experiment: Experiment, counter: Choice, annotation: str, epochs: int | None, is_try: bool) -> Experiment:
    """An experiment of a table with another counter."""
    changed = {
        "title": experiment.title.replace(NAME, NAME if counter.kind == TEMPLATE else counter.kind),
        "counter": counter,
        "annotation": annotation,
        "seeds": experiment.seeds[:1] if is_try else experiment.seeds,
        "training": experiment.training | ({"epochs": epochs} if epochs else {}),
    }
    return experiment.model_copy(update=changed)


def _beside(name: str, experiments: Mapping[str, Experiment]) -> list[str]:
    """The other experiments on the data set of one."""
    return [key for key, each in experiments.items() if key != name and each.dataset == experiments[name].dataset]


def _plain(entry: Options) -> dict[str, Any]:
    return entry.model_dump(mode="json", exclude_defaults=True)


def prepare_once(layout: Layout, study: Study, name: str, limit: int | None) -> None:
    """Prepare a data set, and keep the first `limit` images of each split."""
    paths, kind = layout.prepared(name), study.datasets[name].source.kind
    made_of = hash_files([layout.settings("datasets", name), *code_files("prepare", {"dataset": kind})])

    def make() -> None:
        prepare(layout, name)
        if limit is not None:
            keep_first(paths, limit)

    make_once(paths.folder / MADE_OF, f"{made_of} {limit}", make)


def rasterize_once(layout: Layout, study: Study, name: str) -> None:
    entry = study.maps[name]
    data = layout.prepared(entry.dataset).manifest
    code = code_files("rasterize", {"drawn_map": entry.kernel.kind})
    made_of = hash_files([layout.settings("maps", name), data, *code])
    make_once(layout.maps(name) / MADE_OF, made_of, lambda: rasterize(layout, name))


def evaluate_once(layout: Layout, study: Study, name: str, runs: list[str]) -> None:
    """Count the test images with each run; `runs` are the fingerprints."""
    experiment = study.experiments[name]
    code = hash_files(code_files("evaluate", {"counter": experiment.counter.kind, "loss": experiment.loss.kind}))
    mark = layout.scores(name).with_suffix(".txt")
    make_once(mark, f"{code} {' '.join(runs)}", lambda: evaluate(layout, name))


def make_once(mark: Path, made_of: str, make: Callable[[], None]) -> None:
    """Call `make`, unless the file `mark` says that it was called to its end with the same `made_of`."""
    if mark.exists() and mark.read_text() == made_of:
        return
    mark.unlink(missing_ok=True)
    make()
    mark.write_text(made_of)


def keep_first(paths: PreparedPaths, limit: int) -> None:
    """Reduce a prepared data set to the first `limit` images of each split."""
    prepared = Prepared(paths.folder)
    numbers = sorted(row.number for split in SPLITS for row in prepared.split(split)[:limit])
    select_arrays(paths.images, numbers)
    pq.write_table(pq.read_table(paths.manifest).take(numbers), paths.manifest)


def train_once(layout: Layout, name: str, seed: int) -> str:
    """Train one run to its end and write its folder, unless it is there already; returns its fingerprint."""
    plan, paths = plan_of_seed(layout, name, seed), layout.run(name, seed)
    prepared, maps = layout.prepared(plan.dataset), layout.maps(read_experiment(layout, name).annotation)
    data, data_hash = open_data(prepared.folder, maps), data_sha256(prepared, maps)
    run = fingerprint("train", plan, {"seed": seed}, data_hash)
    record = read_record(paths)
    if record is not None and record["provenance"]["fingerprint"] == run:
        return run
    saved = STATE / "gpu" / f"{run}.pt"
    with EpochProgress(f"{name}, seed {seed}", plan.training.epochs) as progress, exclusive_lock(run):
        state, started_from = fit_run(plan, seed, data, saved, progress)
    write_run(paths, plan, seed, data, state, provenance(plan, started_from, data_hash, data.prepared, run))
    saved.unlink()
    return run


def fit_run(plan: Plan, seed: int, data: TrainingData, file: Path, on_progress: OnProgress) -> tuple[State, str]:
    """Train one run, or go on with it from `file`, which is written after each epoch; returns its last state, and what
    the counter started from. `on_progress` gets the epochs done so far, and the record of each epoch that ends.

    Raises UserError: see `samples`, `load_start` and `fit`."""
    model = assemble(plan, seed)
    saved: dict[str, Any] = _read(file) if file.exists() else {"state": None, "started_from": load_start(model)}
    training, validation = samples(plan, seed, data, model.stride)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    file.parent.mkdir(parents=True, exist_ok=True)

    def report(record: Record, state: State) -> None:
        partial = file.with_suffix(".partial")
        torch.save(saved | {"state": state}, partial)
        partial.replace(file)
        on_progress(record["epoch"], record)

    fit(
        model,
        training,
        validation,
        plan.training,
        report=report,
        state=saved["state"],
        on_progress=lambda epochs: on_progress(epochs, None),
    )
    ended = _read(file)
    return ended["state"], ended["started_from"]


def _read(file: Path) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return saved


def _choice(written: str) -> Choice:
    """The counter of the command line: a kind, or a mapping in YAML. Raises UserError for anything else, and for a kind
    or an option that does not exist."""
    try:
        values = yaml.safe_load(written)
    except yaml.YAMLError:
        values = None
    if not isinstance(values, str | dict):
        raise UserError(f"--counter {written}: write a kind, or '{{kind: {TEMPLATE}, weights: random}}'")
    choice = check(Choice, {"kind": values} if isinstance(values, str) else values, "--counter")
    plugins.resolve("counter", choice, "--counter")
    return choice


def _positive(written: str) -> int:
    number = int(written)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


if __name__ == "__main__":
    main()
