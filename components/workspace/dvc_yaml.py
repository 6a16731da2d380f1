"""A study's pipeline, as DVC reads it. The demo's is the `dvc.yaml` at the project's root; that of every other study,
with a `dvc.lock` of its own, stands beside its `study.yaml`, so that no study's state touches another's.

Every pipeline has the same stages. What differs stands in its `vars`: the entries, the kinds that they name, and the
files that their options name. An entry's dependencies are its settings (written by the stage `resolve`), what earlier
stages made for it, the code of its kinds and the shared code of its stage (`sources.py`), and those files.

DVC refuses a pipeline that Git ignores. Both files are committed together, once a study has results, and not before."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from components.config import plugins
from components.config.load import load_study, study_files
from components.config.resolve import paths_in, resolve
from components.config.study import DatasetEntry, Experiment, MapEntry, Study
from components.errors import UserError
from components.workspace.layout import DEMO, Layout
from components.workspace.sources import CODE, IMPORTED_KINDS, KINDS

HEADER = """# Written by `dotfield run {study}` from {files}; the stages are those of components/workspace/dvc_yaml.py.
# file_1, file_2...: the files that an entry's options name; where it names fewer, docstrings of packages.
"""
PLACEHOLDERS = {"dataset": "${item.kind}"} | {
    kind: f"${{item.{kind}}}" for kind in ("drawn_map", "counter", "density_map", "loss")
}
# In a `foreach` all entries have the same number of dependencies, and adding one changes all of them. So each entry has
# as many files as one can usually name; where it names fewer, files of ours that hold only a docstring
# take their places (of empty ones DVC would warn at every stage).
FILES = {"datasets": 2, "maps": 1, "experiments": 3}
DOCSTRINGS = tuple(
    f"components/{name}/__init__.py"
    for name in ("config", "counters", "data", "datasets", "density_maps", "evaluation", "runs", "stages", "training")
)

CURVES = ("val_mae", "loss")  # columns of a run's metrics.csv that `dvc plots` shows

Entries = dict[str, dict[str, str]]


def load(layout: Layout) -> Study:
    """The study of a folder. Raises UserError: see `load_study`, or its name is not the folder's."""
    study = load_study(layout.params)
    if study.study != layout.study:
        raise UserError(f"{layout.params}: study: must be {layout.study!r}, as its folder is, not {study.study!r}")
    return study


def write(layout: Layout) -> Path:
    """Bring the study's `dvc.yaml` up to date and return its path. Raises UserError: the study has a mistake."""
    text = pipeline(layout, load(layout))
    if not layout.pipeline.exists() or layout.pipeline.read_text() != text:
        layout.pipeline.write_text(text)
    return layout.pipeline


def check_entries(layout: Layout, study: Study) -> None:
    """Raises UserError where the study has other entries than its `dvc.yaml`, which DVC would not run, or in vain; or
    where there is none yet."""
    if not layout.pipeline.exists():
        raise UserError(f"{layout.pipeline}: no such file; `dotfield run {study.study}` writes it, and runs the stages")
    listed = {
        family: set(entries)
        for each in yaml.safe_load(layout.pipeline.read_text())["vars"]
        for family, entries in each.items()
        if isinstance(entries, dict)
    }
    for family, entries in listed.items():
        if entries != set(getattr(study, family)):
            raise UserError(
                f"{layout.params}: {family} are not those of {layout.pipeline}: `dotfield run {study.study}` brings it "
                "up to date"
            )


def pipeline(layout: Layout, study: Study) -> str:
    """The text of a study's `dvc.yaml`."""
    files = study_files(layout.params)
    entries = {
        "datasets": _padded("datasets", {name: _dataset(layout, name, each) for name, each in study.datasets.items()}),
        "maps": _padded("maps", {name: _map(layout, name, each) for name, each in study.maps.items()}),
        "experiments": _padded("experiments", {name: _experiment(layout, study, name) for name in study.experiments}),
    }
    if study.searches:
        entries["searches"] = {
            name: {"experiment": each.experiment, **entries["experiments"][each.experiment]}
            for name, each in study.searches.items()
        }
    variables: list[dict[str, Any]] = [{"study": study.study}, *({family: each} for family, each in entries.items())]
    stages = _stages(layout, [str(file) for file in files], entries)
    return (
        HEADER.format(study=study.study, files=", ".join(map(str, files)))
        + yaml.safe_dump({"vars": variables}, sort_keys=False, width=120, default_flow_style=None)
        + "\n"
        + yaml.safe_dump({"stages": stages}, sort_keys=False, width=120)
        + "\n"
        + yaml.safe_dump(_shown(layout, study), sort_keys=False, width=120)
    )


def _shown(layout: Layout, study: Study) -> dict[str, Any]:
    """What `dvc params`, `dvc metrics`, `dvc plots` and `dvc exp show` show of the study: it makes nothing stale."""
    up = "" if layout.study == DEMO else "../../"
    runs = [layout.run(name, seed) for name, experiment in study.experiments.items() for seed in experiment.seeds]
    plots = [{column: {"x": "epoch", "y": {f"{up}{run.metrics}": column for run in runs}}} for column in CURVES]
    return {"params": [f"{up}{layout.resolved_params}"], "metrics": [f"{up}{layout.metrics}"], "plots": plots}


def _stages(layout: Layout, study_yaml: list[str], entries: Mapping[str, Entries]) -> dict[str, Any]:
    out, settings = "out/${study}", "out/${study}/settings"
    train = [
        f"{settings}/experiments/${{key}}.yaml",
        f"{settings}/maps/${{item.annotation}}.yaml",
        f"{out}/prepared/${{item.dataset}}",
        f"{out}/maps/${{item.annotation}}",
    ]
    search = [
        f"{settings}/searches/${{key}}.yaml",
        f"{settings}/experiments/${{item.experiment}}.yaml",
        *train[1:],
    ]
    searched = "searches" in entries
    bodies: dict[str, tuple[str | None, list[str], str]] = {
        "resolve": (None, study_yaml, settings),
        "prepare": ("datasets", [f"{settings}/datasets/${{key}}.yaml"], f"{out}/prepared/${{key}}"),
        "rasterize": (
            "maps",
            [f"{settings}/maps/${{key}}.yaml", f"{out}/prepared/${{item.dataset}}"],
            f"{out}/maps/${{key}}",
        ),
        "train": ("experiments", train, f"{out}/runs/${{key}}"),
        "evaluate": (
            "experiments",
            [f"{settings}/averaging/${{key}}.yaml", f"{out}/prepared/${{item.dataset}}", f"{out}/runs/${{key}}"],
            f"{out}/scores/${{key}}.parquet",
        ),
        **({"search": ("searches", search, f"{out}/searches/${{key}}")} if searched else {}),
        "publish": (
            None,
            [
                *study_yaml,
                *(f"{out}/{part}" for part in ("prepared", "maps", "runs", "scores", *(["searches"] * searched))),
            ],
            f"{out}/{layout.shown}",
        ),
    }
    return {
        name: _stage(layout, name, family, reads, made, entries.get(family or "", {}))
        for name, (family, reads, made) in bodies.items()
    }


def _stage(
    layout: Layout, name: str, family: str | None, reads: list[str], made: str, entries: Entries
) -> dict[str, Any]:
    code = [entry.format_map(PLACEHOLDERS) for entry in CODE[name]]
    files = (
        [f"${{item.{slot}}}" for slot in next(iter(entries.values())) if slot.startswith("file")]
        if name in ("prepare", "rasterize", "train", "search")
        else []
    )
    body = {
        **({} if layout.study == DEMO else {"wdir": "../.."}),
        "cmd": f"python -m components.stages.{name} ${{study}}" + (" ${key}" if family else ""),
        "deps": [*reads, *files, *code],
        "outs": [made],
    }
    return {"foreach": f"${{{family}}}", "do": body} if family else body


def _dataset(layout: Layout, name: str, entry: DatasetEntry) -> dict[str, str]:
    where = f"{layout.params}: datasets.{name}.source"
    options = plugins.resolve("dataset", entry.source, where)
    return {"kind": entry.source.kind, **_slots(_outermost(paths_in(options)))}


def _map(layout: Layout, name: str, entry: MapEntry) -> dict[str, str]:
    options = plugins.resolve("drawn map", entry.kernel, f"{layout.params}: maps.{name}.kernel")
    return {"dataset": entry.dataset, "drawn_map": entry.kernel.kind, **_slots(paths_in(options))}


def _experiment(layout: Layout, study: Study, name: str) -> dict[str, str]:
    experiment = study.experiments[name]
    kinds = {
        "drawn_map": study.maps[experiment.annotation].kernel.kind,
        "counter": experiment.counter.kind,
        "density_map": experiment.density_map.kind,
        "loss": experiment.loss.kind,
    }
    named = {"dataset": experiment.dataset, "annotation": experiment.annotation}
    return {**named, **kinds, **_slots(_named_files(layout, study, experiment, name))}


def _named_files(layout: Layout, study: Study, experiment: Experiment, name: str) -> list[Path]:
    """The files and folders that an experiment's options name, where an experiment of the study stands for the folder
    of its runs; and code of other kinds that its kinds import."""
    kernel = study.maps[experiment.annotation].kernel
    plan = resolve(experiment, kernel, study.study, name, f"{layout.params}: experiments.{name}")
    named = [layout.runs(str(path)) if str(path) in study.experiments else path for path in plan.named_files()]
    own = [KINDS[family].format_map(plan.kinds()) for family in ("counter", "density map", "loss")]
    return [*named, *(Path(other) for entry in own for other in IMPORTED_KINDS.get(entry, ()))]


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """The paths that do not lie within another one of them."""
    unique = list(dict.fromkeys(paths))
    return [path for path in unique if not any(other in path.parents for other in unique)]


def _slots(files: Iterable[Path]) -> dict[str, str]:
    return {f"file_{number}": os.path.normpath(file) for number, file in enumerate(files, 1)}


def _padded(family: str, entries: Entries) -> Entries:
    """The entries with the same number of files each."""
    most = max(FILES[family], *(sum(key.startswith("file") for key in each) for each in entries.values()))
    padding = {f"file_{number}": file for number, file in enumerate(DOCSTRINGS[:most], 1)}
    return {
        name: {**each, **{slot: each.get(slot, file) for slot, file in padding.items()}}
        for name, each in entries.items()
    }
