"""`dotfield data`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.cli.completion import complete_dataset
from components.cli.output import Command, json_option, print_json

if TYPE_CHECKING:
    from components.config.options import Choice


def folder_options(command: Command) -> Command:
    """The options `--kind` and `--option`, as `kind` and `options`: what `folder_sources` takes."""
    words = "What the folder is; without it, guessed."
    command = click.option(
        "--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of that kind, as in a study."
    )(command)
    return click.option("--kind", metavar="KIND", help=words, shell_complete=complete_dataset)(command)


@click.group()
def data() -> None:
    """Look at raw data before a study uses it."""


@data.command("check")
@click.argument("path", type=click.Path(path_type=Path))
@folder_options
@json_option
@click.option("--strict", is_flag=True, help="Exit with code 1 where an image or a dot is lost.")
def check_data(path: Path, kind: str | None, options: tuple[str, ...], as_json: bool, strict: bool) -> None:
    """Print what is in the folder PATH, and everything that is wrong with it."""
    from components.data import inspect
    from components.data.report import markdown

    sets = [inspect.inspect(source, str(path)) for source in folder_sources(path, kind, options)]
    reports = [inspect.report_of(found, str(path)) for found in sets]
    click.echo(inspect.as_json(path, reports) if as_json else "".join(f"{markdown(each)}\n\n" for each in reports))
    if strict and any(problem["lost"] for report in reports for problem in report["problems"]):
        sys.exit(1)


@data.command("show")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default="sheet.png", show_default=True)
@click.option("--images", type=click.IntRange(1, 400), default=12, show_default=True, help="How many to show at most.")
@folder_options
@json_option
def show_data(path: Path, out: Path, images: int, kind: str | None, options: tuple[str, ...], as_json: bool) -> None:
    """Draw a sheet of the pictures in the folder PATH with their dots: the oddest and the most crowded first.

    Where the folder holds several data sets, each has a sheet of its own, named after the first with a number."""
    from components.config import plugins
    from components.data import sheet
    from components.errors import UserError

    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"--out {out}: must end with .png or .jpg")
    files = []
    for number, source in enumerate(folder_sources(path, kind, options)):
        dataset = plugins.build("dataset", source.kind, plugins.resolve("dataset", source, str(path)))
        file = out.with_stem(f"{out.stem}-{number + 1}") if number else out
        file.parent.mkdir(parents=True, exist_ok=True)
        sheet.draw_sheet(dataset, str(path), images).save(file, quality=90)
        files.append({"file": file, "kind": source.kind})
    if as_json:
        print_json(path=path, sheets=files)
        return
    for each in files:
        click.echo(each["file"])


def folder_sources(path: Path, kind: str | None, options: tuple[str, ...]) -> list[Choice]:
    """The data sets of a folder. Raises UserError: see `inspect.sources`, or there is no such kind."""
    from components.config.plugins import kinds
    from components.data import inspect
    from components.errors import UserError

    if kind is not None and kind not in kinds("dataset"):
        raise UserError(f"--kind {kind}: there is no such kind; kinds: {', '.join(kinds('dataset'))}")
    return inspect.sources(path, kind, dict(map(_option, options)))


def _option(written: str) -> tuple[str, Any]:
    from components.config.yaml_text import parse
    from components.errors import UserError

    key, equals, value = written.partition("=")
    if not equals:
        raise UserError(f"--option {written}: write KEY=VALUE")
    try:
        return key, parse(value)
    except UserError as error:
        raise UserError(f"--option {key}: {error}") from None
