"""`dotfield kinds`."""

from __future__ import annotations

import click


@click.command("kinds")
def list_kinds() -> None:
    """List what can be chosen with `kind:` in a study."""
    from components.config.plugins import FAMILIES, kinds

    for family in FAMILIES:
        click.echo(f"{family:12} {', '.join(kinds(family))}")
