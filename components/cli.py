"""What a person types: `dotfield studies`, `run`, `publish`, `check`, `kinds` and `data check`.

All paths are relative to the project's root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import yaml

from components.config.plugins import FAMILIES, kinds
from components.config.study import Study
from components.data import availability, inspect
from components.datasets.shared.files import natural
from components.errors import UserError
from components.workspace.check import mistakes
from components.workspace.dvc_yaml import load, write
from components.workspace.layout import PARAMS, Layout
from components.workspace.processes import in_words

QUIET = {"DVC_NO_ANALYTICS": "1", "RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1"}

PATIENCE = 10  # seconds that DVC has to end by itself after Ctrl-C


def main() -> None:
    """The command line. UserError and OSError: their lines on stderr and exit code 2, without a traceback."""
    try:
        dotfield()
    except (UserError, OSError) as error:
        click.echo(f"dotfield: {in_words(error)}", err=True)
        sys.exit(2)


@click.group()
def dotfield() -> None:
    """Train crowd counters together with the density maps they learn from."""


@dotfield.command()
def studies() -> None:
    """List the studies: name, experiments, runs (one for each seed), state, title."""
    click.echo(_columns("study", "experiments", "runs", "state", "title"))
    for layout in _layouts():
        try:
            click.echo(_line(layout, load(layout)))
        except UserError as error:
            click.echo(f"{layout.study:21} cannot be read: {error}")


@dotfield.command()
@click.argument("study")
def run(study: str) -> None:
    """Run what is stale of STUDY with DVC, then show its table."""
    layout = _layout(study)
    availability.require(load(layout), str(layout.params))
    pipeline = str(write(layout))
    if _dvc("status", "--quiet", pipeline) == 0:
        click.echo(f"nothing changed: every stage of {study} is up to date\n\n{layout.summary.read_text()}")
        return
    _check(layout)
    if code := _dvc("repro", pipeline):
        sys.exit(code)
    click.echo(f"\n{layout.summary.read_text()}")


@dotfield.command("publish")
@click.argument("study")
def publish_study(study: str) -> None:
    """Publish what there is of STUDY so far, beside DVC's own; experiments that were not run say so."""
    load(_layout(study))
    sys.exit(subprocess.run([sys.executable, "-m", "components.stages.so_far", study], check=False).returncode)


@dotfield.command("check")
@click.argument("study")
def check_study(study: str) -> None:
    """Check every kind and option of STUDY, and list all mistakes at once; then, what raw data it misses."""
    layout = _layout(study)
    _check(layout)
    click.echo(f"{layout.params}: no mistake found")
    for line in availability.missing(load(layout), str(layout.params)):
        click.echo(line)


@dotfield.command("kinds")
def list_kinds() -> None:
    """List what can be chosen with `kind:` in a study."""
    for family in FAMILIES:
        click.echo(f"{family:12} {', '.join(kinds(family))}")


@dotfield.group()
def data() -> None:
    """Look at raw data before a study uses it."""


@data.command("check")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--kind", type=click.Choice(kinds("dataset")), help="What it is; without it, guessed from the folder.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of that kind, as in a study.")
def check_data(path: Path, kind: str | None, options: tuple[str, ...]) -> None:
    """Print what is in the folder PATH, and everything that is wrong with it."""
    for found in inspect.check(path, kind, dict(map(_option, options))):
        click.echo(f"{found}\n")


def _option(written: str) -> tuple[str, Any]:
    key, equals, value = written.partition("=")
    if not equals:
        raise UserError(f"--option {written}: write KEY=VALUE")
    return key, yaml.safe_load(value)


def _layouts() -> list[Layout]:
    if not PARAMS.is_dir():
        raise UserError(f"there is no folder {PARAMS}/ in {Path.cwd()}: run this in the project's root")
    names = [path.parent.name for path in PARAMS.glob("*/study.yaml")]
    return [Layout(name) for name in sorted(names, key=natural)]


def _layout(study: str) -> Layout:
    names = [layout.study for layout in _layouts()]
    if study not in names:
        raise UserError(f"there is no study {study!r} in {PARAMS}/; studies: {', '.join(names)}")
    return Layout(study)


def _line(layout: Layout, study: Study) -> str:
    runs = sum(len(experiment.seeds) for experiment in study.experiments.values())
    return _columns(layout.study, str(len(study.experiments)), str(runs), _state(layout, study), study.title)


def _columns(study: str, experiments: str, runs: str, state: str, title: str) -> str:
    return f"{study:21} {experiments:>11} {runs:>5}  {state:11}  {title}"


def _state(layout: Layout, study: Study) -> str:
    if not layout.pipeline.with_name("dvc.lock").exists():
        return "no raw data" if availability.missing(study, str(layout.params)) else "never run"
    return "published" if layout.summary.exists() else "unfinished"


def _check(layout: Layout) -> None:
    if found := mistakes(load(layout), str(layout.params)):
        raise UserError("\n".join(found))


def _dvc(*words: str) -> int:
    """Run DVC with this Python first on PATH, since `dvc.yaml` says `python`; whatever ends us ends DVC."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with subprocess.Popen([sys.executable, "-m", "dvc", *words], env=os.environ | QUIET | {"PATH": path}) as process:
        try:
            return process.wait()
        except BaseException as ending:
            with suppress(subprocess.TimeoutExpired):  # a terminal's Ctrl-C reaches DVC too, which then ends in order
                process.wait(PATIENCE if isinstance(ending, KeyboardInterrupt) else 0)
            process.terminate()
            process.wait()
            if not isinstance(ending, KeyboardInterrupt):
                raise
            click.echo("dotfield: stopped; the same command goes on from here", err=True)
            sys.exit(128 + signal.SIGINT)
