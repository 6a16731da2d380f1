"""A search by Ray Tune whose best values become a candidate, as a Prefect flow: the stage `search`, then an experiment
of its own with the best values, trained and tested.

`python -m flows.search STUDY SEARCH`. DVC decides what is stale: with the same data, options and code nothing runs."""

from __future__ import annotations

import sys

import click
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Failed
from pydantic import PositiveInt

from components.config.options import Name
from components.data import availability
from components.errors import UserError
from components.publish import study_tables, tables
from components.workspace import dvc_yaml
from components.workspace.apply_search import add_searched
from components.workspace.layout import DEMO, Layout
from components.workspace.processes import exit_on_sigterm
from flows import dvc
from flows.naming import run_name
from flows.reproduce import run_stages, start_server


@flow(flow_run_name=run_name, persist_result=False)
def search(study: Name = DEMO, search: Name = "refined", parallel: PositiveInt = 1) -> State | None:
    """Search an experiment's options, and train and test the experiment with the best values.

    Args:
        study: A study: the name of a folder in params/.
        search: A search: its name among the `searches` of that study.
        parallel: How many stages run at the same time; they share this machine's processors.
    """
    layout = Layout(study)
    try:
        availability.require(dvc_yaml.load(layout), str(layout.params))
        if failed := run_stages(needed(layout, f"search@{search}"), parallel):
            return failed
        show_trials(layout, search)
        candidate = add_searched(layout, search)
        get_run_logger().info("the best values of %s are those of %s in %s", search, candidate, layout.params)
        return run_stages(needed(layout, f"train@{candidate}", f"evaluate@{candidate}"), parallel)
    except UserError as error:
        return Failed(message=str(error))


def needed(layout: Layout, *names: str) -> list[dvc.Stage]:
    """The stages with these names, such as `train@fixed`, and all that they depend on."""
    stages = dvc.stages(dvc_yaml.write(layout))
    return dvc.needed(stages, *(stage.address for stage in stages if stage.name in names))


def show_trials(layout: Layout, search: str) -> None:
    """The trials as an artifact of this run, keyed `<study>-search-<search>`, best first. Raises UserError where the
    study has no such search."""
    trials = layout.search(search).trials
    if not trials.exists():
        raise UserError(f"{layout.params}: there is no search {search!r} that has ended")
    table = study_tables.search_table(search, trials)
    create_markdown_artifact(tables.markdown(table), key=f"{layout.study}-{table.name}", description=table.caption)


@click.command()
@click.argument("study")
@click.argument("search_name", metavar="SEARCH")
@click.option("--parallel", default=1, type=click.IntRange(1), show_default=True, help="stages at the same time")
def main(study: str, search_name: str, parallel: int) -> None:
    """Run SEARCH of STUDY, and train a candidate with its best values; the exit code is 1 if a stage failed."""
    exit_on_sigterm()
    start_server()
    state = search(study, search_name, parallel, return_state=True)
    if not state.is_completed():
        sys.exit(f"{study}: {state.message}")


if __name__ == "__main__":
    main()
