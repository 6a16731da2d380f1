"""`dotfield data`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.group()
def data() -> None:
    """Look at raw data before a study uses it."""


@data.command("check")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--kind", metavar="KIND", help="What it is; without it, guessed from the folder.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of that kind, as in a study.")
def check_data(path: Path, kind: str | None, options: tuple[str, ...]) -> None:
    """Print what is in the folder PATH, and everything that is wrong with it."""
    from components.config.plugins import kinds
    from components.data import inspect
    from components.errors import UserError

    if kind is not None and kind not in kinds("dataset"):
        raise UserError(f"--kind {kind}: there is no such kind; kinds: {', '.join(kinds('dataset'))}")
    for report in inspect.check(path, kind, dict(map(_option, options))):
        click.echo(f"{report}\n")


def _option(written: str) -> tuple[str, Any]:
    import yaml

    from components.errors import UserError

    key, equals, value = written.partition("=")
    if not equals:
        raise UserError(f"--option {written}: write KEY=VALUE")
    return key, yaml.safe_load(value)
