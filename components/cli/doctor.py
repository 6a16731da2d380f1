"""`dotfield doctor`."""

from __future__ import annotations

import dataclasses
import sys

import click

from components.cli.output import json_option, print_json


@click.command()
@json_option
@click.option("--strict", is_flag=True, help="Exit with 1 if anything is wrong, also by a warning.")
def doctor(as_json: bool, strict: bool) -> None:
    """Check what dotfield needs on this machine, and say how to fix what is wrong. Exit code 1: an error.

    The JSON document has `findings`: id, state, what, remedy."""
    from components.doctor import examine

    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            click.echo(f"{finding.state:8} {finding.id:9} {finding.what}")
            if finding.remedy:
                click.echo(f"{'':18} -> {finding.remedy}")
    if as_json:
        print_json(findings=[dataclasses.asdict(finding) for finding in findings])
    wrong = {"error", "warning"} if strict else {"error"}
    sys.exit(any(finding.state in wrong for finding in findings))
