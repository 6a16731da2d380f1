"""`dotfield studies`, `run`, `publish` and `check`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from components.config.study import Study
    from components.workspace.layout import Layout


@click.command()
def studies() -> None:
    """List the studies: name, experiments, runs (one for each seed), state, title."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from components.config.load import load_study
    from components.errors import UserError

    table = Table("study", box=None, pad_edge=False)
    for heading in ("experiments", "runs"):
        table.add_column(heading, justify="right")
    table.add_column("state")
    table.add_column("title", overflow="fold")
    for layout in _layouts():
        try:
            study = load_study(layout.params)
        except UserError as error:
            table.add_row(layout.study, "", "", "mistake", Text(str(error)))
            continue
        runs = sum(len(experiment.seeds) for experiment in study.experiments.values())
        table.add_row(layout.study, str(len(study.experiments)), str(runs), _state(layout, study), Text(study.title))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@click.command()
@click.argument("study")
def run(study: str) -> None:
    """Run what is stale of STUDY with DVC, then show its table."""
    from components.data import availability
    from components.workspace import dvc_output, dvc_yaml

    layout = _layout(study)
    availability.require(dvc_yaml.load(layout), str(layout.params))
    _check(layout)
    pipeline = str(dvc_yaml.write(layout))
    if _dvc("status", "--quiet", pipeline) == 0:
        click.echo(f"nothing changed: every stage of {study} is up to date\n\n{layout.summary.read_text()}")
        return
    if code := _repro(layout):
        sys.exit(code)
    click.echo(f"\n{dvc_output.keep_results(str(layout.pipeline_lock), pipeline)}\n\n{layout.summary.read_text()}")


@click.command("publish")
@click.argument("study")
def publish_study(study: str) -> None:
    """Publish what there is of STUDY so far, apart from DVC's outputs; experiments that were not run say so."""
    from components.stages.publish import preview

    click.echo(f"\n{preview(_layout(study))}")


@click.command("check")
@click.argument("study")
def check_study(study: str) -> None:
    """Check every kind and option of STUDY, and list all mistakes at once; then, what raw data it misses."""
    from components.data import availability
    from components.workspace import dvc_yaml

    layout = _layout(study)
    _check(layout)
    click.echo(f"{layout.params}: no mistake found")
    for line in availability.missing(dvc_yaml.load(layout), str(layout.params)):
        click.echo(line)


@click.command("apply")
@click.argument("study")
@click.argument("search")
def apply_best(study: str, search: str) -> None:
    """Write the best values of SEARCH into the experiment of STUDY that it searched."""
    from components.workspace.apply_search import apply_search

    layout = _layout(study)
    for key, value in apply_search(layout, search).items():
        click.echo(f"{layout.params}: {key} = {value}")


def _layouts() -> list[Layout]:
    from components.datasets.shared.files import natural
    from components.errors import UserError
    from components.workspace.layout import PARAMS, STUDY_FILE, Layout

    if not PARAMS.is_dir():
        raise UserError(f"there is no folder {PARAMS}/ in {Path.cwd()}: run this in the project's root")
    names = [path.parent.name for path in PARAMS.glob(f"*/{STUDY_FILE}")]
    return [Layout(name) for name in sorted(names, key=natural)]


def _layout(study: str) -> Layout:
    from components.errors import UserError
    from components.workspace.layout import PARAMS, Layout

    names = [layout.study for layout in _layouts()]
    if study not in names:
        raise UserError(f"there is no study {study!r} in {PARAMS}/; studies: {', '.join(names)}")
    return Layout(study)


def _state(layout: Layout, study: Study) -> str:
    from components.data import availability

    if not layout.pipeline_lock.exists():
        return "no raw data" if availability.missing(study, str(layout.params)) else "never run"
    return "published" if layout.summary.exists() else "unfinished"


def _check(layout: Layout) -> None:
    """Raises UserError with every mistake of a study, a line each."""
    from components.errors import UserError
    from components.publish import published
    from components.workspace import dvc_yaml
    from components.workspace.check import find_mistakes

    rows = published.rows()
    keys, sections = {row.key for row in rows}, {row.section for row in rows}
    if mistakes := find_mistakes(dvc_yaml.load(layout), str(layout.params), keys, sections):
        raise UserError("\n".join(mistakes))


def _repro(layout: Layout) -> int:
    """Run what is stale, and say which stage of how many runs; the exit code of DVC.

    All that DVC and the stages write to standard output is kept in a log. Their errors and bars go to the terminal."""
    from components.workspace import dvc_output, dvc_yaml

    stage_lines = dvc_output.StageLines(dvc_yaml.count_stages(layout))
    file = layout.log("run")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", buffering=1) as log:

        def show(line: str) -> None:
            log.write(f"{line}\n")
            if (text := stage_lines(line)) is not None:
                click.echo(text)

        return _dvc("repro", str(layout.pipeline), on_line=show)


def _dvc(*words: str, on_line: Callable[[str], None] | None = None) -> int:
    """Run DVC; whatever ends this process ends DVC. `on_line` gets each line of its standard output, as it comes."""
    from components.workspace.processes import INTERRUPTED, guard, python_environment, wait_or_end

    with subprocess.Popen(
        [sys.executable, "-m", "dvc", *words],
        stdout=subprocess.PIPE if on_line else None,
        text=True,
        errors="replace",
        env=python_environment() | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        guard(process.pid)
        try:
            return wait_or_end(process, on_line)
        except KeyboardInterrupt:  # click would print "Aborted!"
            click.echo("dotfield: stopped; the same command goes on from here", err=True)
            sys.exit(INTERRUPTED)
