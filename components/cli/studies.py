"""`dotfield studies`, `run`, `publish`, `check`, `apply` and `dag`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.cli.completion import complete_search, complete_study
from components.cli.output import json_option, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from components.config.study import Study
    from components.workspace.layout import Layout


STUDY = click.argument("study", shell_complete=complete_study)


@click.command()
@json_option
def studies(as_json: bool) -> None:
    """List the studies: name, experiments, runs (one for each seed), state, title."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    listed = [_describe(layout) for layout in _layouts()]
    if as_json:
        print_json(studies=listed)
        return
    table = Table("study", box=None, pad_edge=False)
    for heading in ("experiments", "runs"):
        table.add_column(heading, justify="right")
    table.add_column("state")
    table.add_column("title", overflow="fold")
    for each in listed:
        table.add_row(*(Text("" if value is None else str(value)) for value in each.values()))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@click.command()
@STUDY
@json_option
def run(study: str, as_json: bool) -> None:
    """Run what is stale of STUDY with DVC, then show its table and how it compares with the baseline."""
    from components.data import availability
    from components.workspace import dvc_yaml

    layout = _layout(study)
    availability.require(dvc_yaml.load(layout), str(layout.params))
    _check(layout)
    pipeline = str(dvc_yaml.write(layout))
    changed = _dvc("status", "--quiet", pipeline) != 0
    said = _repro(layout, as_json) if changed else f"nothing changed: every stage of {study} is up to date"
    if as_json:
        click.echo(said, err=True)
        print_json(changed=changed, **_results(layout))
        return
    click.echo(f"{said}\n\n{layout.summary.read_text()}")


@click.command("publish")
@STUDY
@json_option
def publish_study(study: str, as_json: bool) -> None:
    """Publish what there is of STUDY so far, apart from DVC's outputs; experiments that were not run say so."""
    from components.stages.publish import preview

    layout = _layout(study)
    summary = preview(layout)
    if as_json:
        print_json(**_results(layout.preview))
        return
    click.echo(f"\n{summary}")


@click.command("check")
@STUDY
@json_option
def check_study(study: str, as_json: bool) -> None:
    """Check every kind and option of STUDY, and list all mistakes at once; then, what raw data it misses."""
    from components.data import availability
    from components.errors import UserError
    from components.workspace import dvc_yaml

    layout = _layout(study)
    try:
        _check(layout)
        missing = list(availability.missing(dvc_yaml.load(layout), str(layout.params)))
    except UserError as error:
        if as_json:
            print_json(study=study, file=layout.params, mistakes=str(error).splitlines(), missing=[])
        raise
    if as_json:
        print_json(study=study, file=layout.params, mistakes=[], missing=missing)
        return
    click.echo(f"{layout.params}: no mistake found")
    for line in missing:
        click.echo(line)


@click.command("apply")
@STUDY
@click.argument("search", shell_complete=complete_search)
@json_option
def apply_best(study: str, search: str, as_json: bool) -> None:
    """Write the best values of SEARCH into the experiment of STUDY that it searched."""
    from components.workspace.apply_search import apply_search

    layout = _layout(study)
    values = apply_search(layout, search)
    if as_json:
        print_json(study=study, search=search, file=layout.params, values=values)
        return
    for key, value in values.items():
        click.echo(f"{layout.params}: {key} = {value}")


@click.command("dag")
@click.argument("study", default="demo", shell_complete=complete_study)
@json_option
def show_dag(study: str, as_json: bool) -> None:
    """Show the stages of STUDY as a tree, each below the last of those that it waits for, with their state.

    fresh: nothing to do. stale: what it reads changed. waits: an earlier stage will run first. never run."""
    from rich.console import Console

    from components.workspace import dag, dvc_yaml

    layout = _layout(study)
    stages = dag.stages(dvc_yaml.pipeline(layout, dvc_yaml.load(layout)))
    states = dag.states(stages, layout, _changes(layout) if layout.pipeline_lock.exists() else {})
    if as_json:
        print_json(study=study, stages=dag.plain(stages, states))
        return
    Console(highlight=False, markup=False).print(dag.tree(study, stages, states))


def _changes(layout: Layout) -> dict[str, Any]:
    """What DVC says has changed, by stage. Raises UserError where it says that it cannot tell."""
    import json

    from components.errors import UserError
    from components.workspace.processes import python_environment

    words = [sys.executable, "-m", "dvc", "status", "--json", str(layout.pipeline)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=python_environment())
    if done.returncode:
        raise UserError(f"{layout.pipeline}: {done.stderr.strip().removeprefix('ERROR: ')}")
    return {stage.rpartition(":")[2]: changes for stage, changes in json.loads(done.stdout).items()}


def _describe(layout: Layout) -> dict[str, Any]:
    """A study as a row of the list."""
    from components.config.load import load_study
    from components.errors import UserError

    try:
        study = load_study(layout.params)
    except UserError as error:
        return {"study": layout.study, "experiments": None, "runs": None, "state": "mistake", "title": str(error)}
    runs = sum(len(experiment.seeds) for experiment in study.experiments.values())
    counts = {"experiments": len(study.experiments), "runs": runs}
    return {"study": layout.study, **counts, "state": _state(layout, study), "title": study.title}


def _results(layout: Layout) -> dict[str, Any]:
    """What was published, for programs; null where there are no figures."""
    import json

    figures = json.loads(layout.metrics.read_text()) if layout.metrics.exists() else None
    return {"study": layout.study, "results": figures, "report": layout.report, "tables": layout.tables}


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
    from components.training.check import find_mistakes
    from components.workspace import dvc_yaml

    rows = published.rows()
    keys, sections = {row.key for row in rows}, {row.section for row in rows}
    if mistakes := find_mistakes(dvc_yaml.load(layout), str(layout.params), keys, sections):
        raise UserError("\n".join(mistakes))


def _repro(layout: Layout, as_json: bool) -> str:
    """Run what is stale, and say which stage of how many runs; returns what can be done with the results. Ends the
    command where a stage fails: with exit code 1, whatever that of DVC.

    All that DVC and the stages write to standard output is kept in a log. Their errors and bars go to the terminal."""
    from components.workspace import dag, dvc_output
    from components.workspace.processes import FAILED

    stage_lines = dvc_output.StageLines(len(dag.stages(layout.pipeline.read_text())))
    file = layout.log("run")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", buffering=1) as log:

        def show(line: str) -> None:
            log.write(f"{line}\n")
            if (text := stage_lines(line)) is not None:
                click.echo(text, err=as_json)

        if _dvc("repro", str(layout.pipeline), on_line=show):
            sys.exit(FAILED)
    return f"\n{dvc_output.keep_results(str(layout.pipeline_lock), str(layout.pipeline))}"


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
            click.echo("dotfield: stopped; what is finished is kept", err=True)
            sys.exit(INTERRUPTED)
