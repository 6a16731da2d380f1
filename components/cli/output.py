"""What commands print for programs: one JSON document on standard output; all words for people go to standard error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
SCHEMA = 1  # of the documents; a higher one may lack keys that this one has


def json_option(command: Command) -> Command:
    """The option `--json`, as `as_json`: with it, what the project logs goes to standard error."""
    words = "Print one JSON document; words for people go to standard error."
    return click.option("--json", "as_json", is_flag=True, callback=_log_to_stderr, help=words)(command)


def print_json(**values: Any) -> None:
    """Print a document: `schema`, and these keys."""
    import json

    click.echo(json.dumps({"schema": SCHEMA, **values}, indent=2, ensure_ascii=False, default=str))


def _log_to_stderr(context: click.Context, option: click.Parameter, as_json: bool) -> bool:
    if as_json:
        import sys

        from components.workspace.processes import configure_logging

        configure_logging(stream=sys.stderr)
    return as_json
