"""`dotfield remote`."""

from __future__ import annotations

import click

from components.cli.output import json_option, print_json


@click.command()
@click.argument("address")
@click.option("--endpoint", metavar="URL", help="Of an S3 server that is not Amazon's.")
@json_option
def remote(address: str, endpoint: str | None, as_json: bool) -> None:
    """Make ADDRESS, a folder or s3://BUCKET/PATH, the place to which `dvc push` copies results.

    First tries to write, read, list and delete there. Credentials come from the environment, and are not written."""
    from components.workspace.layout import DVC_CONFIG
    from components.workspace.remote import set_remote

    set_remote(address, endpoint)
    if as_json:
        print_json(remote=address, endpoint=endpoint, config=DVC_CONFIG)
    else:
        click.echo(
            f"{address} is the remote now: commit {DVC_CONFIG}; `dvc push` copies results there, `dvc pull` back"
        )
