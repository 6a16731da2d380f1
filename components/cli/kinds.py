"""`dotfield kinds`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from components.cli.completion import complete_kind
from components.cli.output import json_option, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from components.config.describe import Option


@click.command("kinds")
@click.argument("words", nargs=-1, metavar="[FAMILY] [KIND]", shell_complete=complete_kind)
@json_option
def list_kinds(words: tuple[str, ...], as_json: bool) -> None:
    """List what can be chosen with `kind:` in a study; of a KIND, or of all kinds of a FAMILY, every option.

    Families are dataset, drawn_map, density_map, counter and loss."""
    from rich.console import Console

    from components.config.describe import describe, find
    from components.config.plugins import FAMILIES, kinds
    from components.errors import UserError

    if len(words) > 2:
        raise UserError("dotfield kinds: write at most a family and a kind")
    if not words and not as_json:
        click.echo("".join(f"{family:12} {', '.join(kinds(family))}\n" for family in FAMILIES), nl=False)
        return
    found = [describe(family, kind) for family, kind in find(words)]
    if as_json:
        print_json(kinds=[kind._asdict() | {"options": [each._asdict() for each in kind.options]} for kind in found])
        return
    console = Console(highlight=False, markup=False, soft_wrap=False)
    for kind in found:
        console.print(f"{kind.family} {kind.kind}", style="bold")
        console.print("\n".join(text for text in (kind.summary, kind.notes) if text))
        console.print(option_table(kind.options) if kind.options else "It has no options.", "")


def option_table(options: list[Option]) -> Table:
    """One row for each option."""
    from rich.table import Table
    from rich.text import Text

    table = Table("option", "type", "default", "meaning", box=None, pad_edge=False)
    for option in options:
        paper = f"\n(paper: {option.paper})" if option.paper is not None else ""
        default = "required" if option.required else f"{option.default}{paper}"
        table.add_row(*map(Text, (option.name, option.type, default, option.meaning)))
    return table
