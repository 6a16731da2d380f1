"""`dotfield compare`."""

from __future__ import annotations

from pathlib import Path

import click

from components.cli.completion import complete_experiment
from components.cli.output import json_option, print_json


@click.command()
@click.argument("first", metavar="STUDY/EXPERIMENT", shell_complete=complete_experiment)
@click.argument("second", metavar="STUDY/EXPERIMENT", shell_complete=complete_experiment)
@json_option
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Also write a page, with the images.")
def compare(first: str, second: str, as_json: bool, html: Path | None) -> None:
    """Compare two experiments that were run: settings, data, code, machine; errors, paired; and images."""
    from components.publish import comparison
    from components.publish.tables import plain

    compared = comparison.compare_experiments(comparison.read_evaluated(first), comparison.read_evaluated(second))
    if html:
        comparison.write_page(compared, html)
    if as_json:
        print_json(**comparison.document(compared))
        return
    for table in (compared.settings, compared.metrics, compared.images):
        click.echo(f"{plain(table)}\n")
    click.echo(comparison.findings(compared))
