"""`dotfield remote`."""

from __future__ import annotations

import click


@click.command()
@click.argument("address")
@click.option("--endpoint", metavar="URL", help="Of an S3 server that is not Amazon's.")
def remote(address: str, endpoint: str | None) -> None:
    """Make ADDRESS, a folder or s3://BUCKET/PATH, the place to which `dvc push` copies results.

    First tries to write, read, list and delete there. Credentials come from the environment, and are not written."""
    from components.workspace.layout import DVC_CONFIG
    from components.workspace.remote import set_remote

    set_remote(address, endpoint)
    click.echo(f"{address} is the remote now: commit {DVC_CONFIG}; `dvc push` copies results there, `dvc pull` back")
