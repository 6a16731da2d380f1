"""What a person types. All paths are relative to the project's root.

What a command needs is imported when it runs, so that help is instant. Results go to standard output, errors to
standard error."""

from __future__ import annotations

import importlib.metadata
import os

import click

from components.cli import compare, count, data, doctor, export, kinds, new, registry, studies


def main() -> None:
    """The command line. Exit codes: 0, done; 1, a bug, with its traceback; 2, a mistake that the user can mend, in one
    line; 130, Ctrl-C; else that of DVC."""
    from components.workspace.processes import call, exit_on_sigterm

    exit_on_sigterm()
    call("dotfield", dotfield)


@click.group()
@click.version_option(importlib.metadata.version("dotfield"), prog_name="dotfield")
@click.option("--traceback", is_flag=True, help="Show the traceback of an error that would be one line.")
def dotfield(traceback: bool) -> None:
    """Train crowd counters together with the density maps they learn from."""
    from components.workspace.processes import TRACEBACK, configure_logging

    configure_logging()
    if traceback:
        os.environ[TRACEBACK] = "1"


for command in (
    studies.studies,
    studies.run,
    studies.publish_study,
    studies.check_study,
    studies.apply_best,
    compare.compare,
    count.count,
    kinds.list_kinds,
    data.data,
    doctor.doctor,
    new.new_study,
    export.export_run,
    registry.deployed,
    registry.deploy,
    registry.rollback,
    registry.history,
    registry.gate,
):
    dotfield.add_command(command)
