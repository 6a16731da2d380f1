"""One study from raw data to tables, as a Prefect flow: a task for each stage that DVC names, in DVC's order.

`python -m flows.reproduce [STUDY]` starts a temporary server, or uses the one at PREFECT_API_URL. DVC decides what is
stale, so Prefect's own caching is off. A failed stage stops what depends on it; independent ones go on."""

from __future__ import annotations

import signal
from typing import Any

import click
import psutil
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, as_completed, wait
from prefect.states import Failed
from pydantic import PositiveInt

from components.config.options import Name
from components.data import availability
from components.errors import UserError
from components.workspace import dvc_yaml
from components.workspace.layout import DEMO, Layout
from components.workspace.processes import exit_on_sigterm, guard
from flows import dvc
from flows.ending import exit_if_failed, mistake
from flows.naming import run_name


@flow(flow_run_name=run_name, persist_result=False)
def reproduce(study: Name = DEMO, parallel: PositiveInt = 1) -> State | None:
    """Run what is stale of a study, and leave its tables as artifacts.

    Args:
        study: A study: the name of a folder in params/.
        parallel: How many stages run at the same time; they share this machine's processors.
    """
    layout = Layout(study)
    try:
        availability.require(dvc_yaml.load(layout), str(layout.params))
        stages = dvc.stages(dvc_yaml.write(layout))
    except UserError as error:
        return mistake(str(error))
    if failed := run_stages(stages, parallel):
        return failed
    show_tables(layout)
    return None


def run_stages(stages: list[dvc.Stage], parallel: int) -> State | None:
    """Run what is stale of these stages; what failed, as one state. Whatever ends the flow ends them."""
    runner = dvc.Runner(parallel)
    try:
        states = run_all(stages, runner, parallel)
    except BaseException:
        runner.stop()
        raise
    failures = [state.message or "" for state in states if state.is_failed() or state.is_crashed()]
    return Failed(message="\n".join(failures)) if failures else None


@task(task_run_name="{stage.name}", cache_policy=NO_CACHE, persist_result=False)
def run_stage(stage: dvc.Stage, runner: dvc.Runner) -> State | None:
    """One stage; a failure is a state whose first line is the last that the stage said, without a traceback."""
    try:
        runner.run(stage, get_run_logger().info)
    except dvc.StageError as error:
        return Failed(message=str(error))
    return None


def run_all(stages: list[dvc.Stage], runner: dvc.Runner, parallel: int) -> list[State]:
    """Submit the stages in their order, `parallel` at the same time, and wait for all of them."""
    futures: dict[str, PrefectFuture[Any]] = {}
    running: list[PrefectFuture[Any]] = []
    for stage in stages:
        if len(running) == parallel:
            running.remove(next(as_completed(running)))
        needs = [futures[address] for address in stage.after if address in futures]
        futures[stage.address] = run_stage.submit(stage, runner, wait_for=needs, return_state=False)
        running.append(futures[stage.address])
    wait(list(futures.values()))
    return [future.state for future in futures.values()]


def show_tables(layout: Layout) -> None:
    """Each published table as an artifact of this run, keyed `<study>-<table>`."""
    for table in sorted(layout.tables.glob("*.md")):
        key = f"{layout.study}-{table.stem}".lower().replace("_", "-")
        create_markdown_artifact(table.read_text(), key=key, description=f"{table}")


def start_server() -> None:
    """Prefect's temporary server, unless PREFECT_API_URL names one, deaf to the Ctrl-C that reaches every process of a
    terminal: it must outlive the flow, which tells it how it ended. It does not outlive a flow that is killed."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        get_client(sync_client=True)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for child in psutil.Process().children():
        guard(child.pid)


@click.command()
@click.argument("study", default=DEMO)
@click.option("--parallel", default=1, type=click.IntRange(1), show_default=True, help="stages at the same time")
def main(study: str, parallel: int) -> None:
    """Reproduce STUDY; the exit code is 1 if a stage failed, 2 for a mistake."""
    exit_on_sigterm()
    start_server()
    state = reproduce(study, parallel, return_state=True)
    exit_if_failed(study, state)


if __name__ == "__main__":
    main()
