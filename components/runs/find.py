"""A run as a person names it."""

from __future__ import annotations

from pathlib import Path

from components.errors import UserError
from components.workspace.layout import Layout, RunPaths


def find_weights(name: str) -> Path:
    """The weights file of a run: of its folder the best ones, a weights file itself, or STUDY/EXPERIMENT[/SEED].

    Raises UserError: there is no such run, or an experiment was trained with several seeds and none is named."""
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        return RunPaths(path).best
    study, experiment, seed, *rest = [*name.split("/"), "", ""]
    if not (study and experiment) or any(rest):
        raise UserError(f"{name}: there is no such file or folder; a run of a study is STUDY/EXPERIMENT[/SEED]")
    runs = sorted(Layout(study).runs(experiment).glob(f"seed-{seed or '*'}"))
    if not runs:
        raise UserError(f"{name}: there is no finished run in {Layout(study).runs(experiment)}; train it first")
    if len(runs) > 1:
        seeds = ", ".join(f"{name}/{run.name.removeprefix('seed-')}" for run in runs)
        raise UserError(f"{name}: was trained with several seeds; name one: {seeds}")
    return RunPaths(runs[0]).best
