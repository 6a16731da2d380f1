"""A study's pipeline. The demo's is the `dvc.yaml` at the project's root; every other study has the same stages in
`params/<study>/dvc.yaml`, with a `dvc.lock` of its own beside it, so that no study's state touches another's.

DVC refuses a pipeline that Git ignores. Both files are committed together, once a study has results, and not before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from components.config.study import Study, load_study
from components.errors import UserError
from components.workspace.layout import DEMO, Layout

HEADER = (
    "# The stages of /dvc.yaml for the study beside this file. Written by `dotfield run {study}`: change /dvc.yaml.\n"
)


def load(layout: Layout) -> Study:
    """The study of a folder. Raises UserError: see `load_study`, or its name is not the folder's."""
    study = load_study(layout.params)
    if study.study != layout.study:
        raise UserError(f"{layout.params}: study: must be {layout.study!r}, as its folder is, not {study.study!r}")
    return study


def write(layout: Layout) -> Path:
    """Bring the study's `dvc.yaml` up to date and return its path. Raises UserError: the study has a mistake."""
    study = load(layout)
    if layout.study != DEMO:
        text = pipeline(layout, study)
        if not layout.pipeline.exists() or layout.pipeline.read_text() != text:
            layout.pipeline.write_text(text)
    return layout.pipeline


def pipeline(layout: Layout, study: Study) -> str:
    """The text of a study's `dvc.yaml`: the demo's stages, which run at the root and read the `study.yaml` beside it.

    DVC refuses a parameter that is absent, so what the study leaves out (`training`, `searches`) is left out here."""
    demo = yaml.safe_load(Layout(DEMO).pipeline.read_text())
    written = yaml.safe_load(layout.params.read_text())
    stages = {name: _at_root(stage, written) for name, stage in demo["stages"].items()}
    if not written.get("searches"):
        del stages["search"]
        stages["publish"]["deps"].remove("out/${study}/searches")
    stages["prepare"] = _with_raw_data(stages["prepare"], written["datasets"])
    variables: list[Any] = ["study.yaml"]
    if any(study.source(name) for name in study.experiments):
        variables.append({"experiments": _sources(study)})
        stages["train"]["do"]["deps"].append("${item.source}")
    text = yaml.safe_dump({"vars": variables, "stages": stages}, sort_keys=False, width=120)
    return HEADER.format(study=layout.study) + text


def _with_raw_data(prepare: dict[str, Any], datasets: dict[str, Any]) -> dict[str, Any]:
    """The stage, stale too when raw files change; a data set that is made from nothing depends on its maker again."""
    raw = {
        name: entry["source"].get("root", f"components/datasets/{entry['source']['kind']}.py")
        for name, entry in datasets.items()
    }
    body = prepare["do"]
    return {"foreach": raw, "do": body | {"deps": [*body["deps"], "${item}"]}}


def _sources(study: Study) -> dict[str, dict[str, str]]:
    """What DVC adds to each experiment of the study: the runs that make its density map, or else its map's code again.

    Everything else that DVC knows of an experiment it reads in `study.yaml`, where `dvc exp run -S` changes it."""
    return {
        name: {"source": _runs(study, name) or f"components/density_maps/learned/{experiment.density_map.kind}.py"}
        for name, experiment in study.experiments.items()
    }


def _runs(study: Study, name: str) -> str | None:
    source = study.source(name)
    return str(Layout(study.study).runs(source)) if source else None


def _at_root(stage: dict[str, Any], written: dict[str, Any]) -> dict[str, Any]:
    body = {"wdir": "../..", **stage.get("do", stage)}
    if "params" in body:
        body["params"] = [_present(keys, written) for keys in body["params"]]
    return stage | {"do": body} if "do" in stage else body


def _present(params: dict[str, list[str]], written: dict[str, Any]) -> dict[str, list[str]]:
    return {file: [key for key in keys if key.split(".")[0] in written] for file, keys in params.items()}
