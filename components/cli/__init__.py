"""What a person types. All paths are relative to the project's root.

What a command needs is imported when it runs, so that help is instant. Results go to standard output, errors to
standard error."""

from __future__ import annotations

import os

import click

from components.cli import (
    compare,
    completion,
    count,
    data,
    doctor,
    export,
    inbox,
    kinds,
    new,
    registry,
    remote,
    studies,
)

EXIT_CODES = """\b
Exit codes:
  0    done
  1    something is wrong: a stage failed, `doctor` or `data check --strict` found
       something, or there is a bug in dotfield (a traceback)
  2    a mistake that you can correct, said in one line; nothing was done
  3    a part was not done: `count` could not count some pictures
  130  Ctrl-C, and 143, TERM: what is finished is kept
"""


def main() -> None:
    """The command line; `EXIT_CODES` says how it ends."""
    if completion.COMPLETE in os.environ:  # the Tab key was pressed: at once
        dotfield()
    from components.workspace.processes import call, exit_on_sigterm

    exit_on_sigterm()
    call("dotfield", dotfield)


@click.group(epilog=EXIT_CODES)
@click.version_option(package_name="dotfield", prog_name="dotfield")
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
    studies.show_dag,
    compare.compare,
    count.count,
    kinds.list_kinds,
    data.data,
    doctor.doctor,
    new.new_study,
    export.export_run,
    completion.completion,
    inbox.inbox,
    remote.remote,
    registry.deployed,
    registry.deploy,
    registry.rollback,
    registry.history,
    registry.gate,
):
    dotfield.add_command(command)
