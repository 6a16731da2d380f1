"""`dotfield inbox`."""

from __future__ import annotations

from pathlib import Path

import click

from components.cli.output import json_option, print_json
from components.workspace.layout import RETRAIN


@click.command()
@click.argument("settings", default=str(RETRAIN), type=click.Path(path_type=Path))
@click.option("--options", is_flag=True, help="List every option of the file SETTINGS, and read nothing.")
@json_option
def inbox(settings: Path, options: bool, as_json: bool) -> None:
    """Say what became of the objects in the inbox of SETTINGS: those that were refused or wait, and why.

    Shows what the last night wrote down; the inbox itself is not looked at. An object that is refused is looked at
    again when it changes."""
    from rich.console import Console

    from components.cli.kinds import option_table
    from components.config.describe import describe_schema
    from components.config.load import load_options
    from components.config.retrain import Retrain
    from components.errors import printable
    from components.publish.tables import Table, plain
    from components.workspace.atomic import read_lines
    from components.workspace.layout import InboxPaths

    if options:
        Console(highlight=False, markup=False).print(option_table(describe_schema(Retrain)))
        return
    paths = InboxPaths(load_options(Retrain, settings).study)
    seen, waiting = read_lines(paths.seen), read_lines(paths.waiting)
    refused = [line for line in seen if line["outcome"] == "refused"]
    if as_json:
        print_json(taken=len(seen) - len(refused), refused=refused, waiting=waiting)
        return
    states = [("refused", line) for line in refused] + [("waits", line) for line in waiting]
    rows = [(state, printable(line["name"]), printable(line["reason"])) for state, line in states]
    click.echo(f"{len(seen) - len(refused)} objects taken, {len(refused)} refused, {len(waiting)} waiting")
    if rows:
        click.echo(f"\n{plain(Table('inbox', 'Not taken', ('', 'object', 'why'), tuple(rows)))}")
