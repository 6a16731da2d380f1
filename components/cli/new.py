"""`dotfield new`."""

from __future__ import annotations

from pathlib import Path

import click

from components.cli.data import folder_options, folder_sources
from components.cli.output import json_option, print_json


@click.command("new")
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@folder_options
@json_option
def new_study(name: str, folder: Path, kind: str | None, options: tuple[str, ...], as_json: bool) -> None:
    """Write the study NAME for the pictures in FOLDER: a whole study.yaml from what is found there, with reasons."""
    import re

    from components.config.options import NAME
    from components.data.inspect import in_yaml, inspect
    from components.data.proposal import measure, propose, study_yaml
    from components.errors import UserError
    from components.workspace.layout import Layout

    if not re.fullmatch(NAME, name):
        raise UserError(f"{name!r} cannot be the name of a study: write small letters, digits and single hyphens")
    file = Layout(name).params
    if file.exists():
        raise UserError(f"{file} exists: choose another name, or remove it first")
    sources = folder_sources(folder, kind, options)
    if len(sources) > 1:
        several = "; ".join(map(in_yaml, sources))
        raise UserError(f"{folder}: holds several data sets; choose one with --option: {several}")
    found = inspect(sources[0], str(folder))
    try:
        data = measure(found)
        text = study_yaml(name, found, data, propose(data))
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("x") as study:
        study.write(text)
    if as_json:
        print_json(study=name, file=file, source={"kind": sources[0].kind, **sources[0].options})
        return
    click.echo(f"{file}\n\nnext: dotfield check {name}; dotfield run {name}")
