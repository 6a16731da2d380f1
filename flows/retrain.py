"""A night of retraining as a Prefect flow: new pictures in, and a better counter out, or nothing changes.

`python -m flows.retrain [SETTINGS]` starts a temporary server, or uses the one at PREFECT_API_URL. What each step does
stands in `flows/night.py`; the same command again goes on where a killed night was."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click
from prefect import Flow, flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed, Failed

from components.config.load import load_options
from components.config.retrain import Event, Retrain
from components.errors import UserError
from components.gate.verdict import Verdict
from components.inbox.check import Checked
from components.inbox.ingest import Ingested
from components.publish import history, tables
from components.runs.ledger import Entry
from components.workspace.layout import RETRAIN
from components.workspace.processes import exit_on_sigterm, format_error
from flows import dvc, night
from flows.ending import exit_if_failed, mistake
from flows.naming import prefect_run, run_name
from flows.night import Night
from flows.notify import tell
from flows.reproduce import run_stages, show_tables, start_server

RETRIES, DELAYS = 3, [10.0, 30.0, 90.0]  # of what fetches and sends; seconds
step = task(cache_policy=NO_CACHE, persist_result=False)
fetching_step = task(cache_policy=NO_CACHE, persist_result=False, retries=RETRIES, retry_delay_seconds=DELAYS)


def _tell_of_run(event: Event, run: FlowRun, state: State[Any]) -> None:
    """Tell that a run failed or crashed, once; whatever is wanted, where the settings have a mistake."""
    file = Path(run.parameters.get("settings", RETRAIN))
    try:
        settings = load_options(Retrain, file)
        name, wanted = settings.study, settings.notify
    except UserError:
        name, wanted = str(file), get_args(Event)
    tell(wanted, event, str(run.id), f"{name}: retraining {event}", f"{run.name}: {state.message}")


def tell_of_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    _tell_of_run("failed", flow_run, state)


def tell_of_crash(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    _tell_of_run("crashed", flow_run, state)


@flow(flow_run_name=run_name, persist_result=False, on_failure=[tell_of_failure], on_crashed=[tell_of_crash])
def retrain(settings: str = str(RETRAIN)) -> State[Any]:
    """Take new pictures, retrain, and deploy the new counter if it is better than the one in use.

    Args:
        settings: The file that says which inbox, study and registry: params/retrain.yaml or one like it.
    """
    try:
        tonight = night.open_night(Path(settings))
        with night.lock(tonight):
            return run_night(tonight)
    except dvc.StageError as error:
        return Failed(message=str(error))
    except Exception as error:
        if (text := format_error(error)) is None:
            raise
        return mistake(text)


def run_night(tonight: Night) -> State[Any]:
    """The steps of a night, in the order in which they happen."""
    ingested = ingest(tonight)
    if night.is_done(tonight):
        return Completed(message=f"nothing new; {record_nothing_new(tonight, ingested)}")
    entry = night.decided(tonight)
    if entry is None:
        entry = train_and_decide(tonight, ingested)
    publish(tonight)
    notify(tonight, entry)
    night.finish(tonight)
    return Completed(message=f"{entry.decision['outcome']}: {entry.decision['reason']}")


def train_and_decide(tonight: Night, ingested: Ingested) -> Entry:
    """From new pictures to a decision. Raises StageError: a stage of the pipeline failed."""
    facts: dict[str, Any] = {
        "prefect": prefect_run(),
        "refused": ingested.undecided_refused,
    }
    checked = check(tonight, ingested)
    if checked.failed:
        reason = "; ".join(each.words for each in checked.failed)
        return night.refuse(tonight, f"the data: {reason}", facts)
    facts["data"] = data = version(tonight, checked)
    stages = night.stages(tonight)
    reproduce(stages)
    facts |= keep_results(tonight, stages, data)
    try:
        file = night.candidate(tonight)
    except UserError as error:
        return night.refuse(tonight, f"the candidate: {error}", facts)
    return deploy(tonight, gate(tonight, file), facts, file)


@fetching_step
def ingest(tonight: Night) -> Ingested:
    return night.ingest(tonight)


@fetching_step
def record_nothing_new(tonight: Night, ingested: Ingested) -> str:
    return night.record_nothing_new(tonight, ingested, {"prefect": prefect_run()})


@step
def check(tonight: Night, ingested: Ingested) -> Checked:
    return night.check(tonight, ingested)


@fetching_step
def version(tonight: Night, checked: Checked) -> dict[str, Any]:
    return night.version(tonight, checked, get_run_logger().info)


def reproduce(stages: list[dvc.Stage]) -> None:
    """A task for each stage. Raises StageError: one failed."""
    if failed := run_stages(stages, parallel=1):
        raise dvc.StageError(failed.message or "")


@fetching_step
def keep_results(tonight: Night, stages: list[dvc.Stage], data: dict[str, Any]) -> dict[str, Any]:
    return night.keep_results(tonight, stages, data, get_run_logger().info)


@step
def gate(tonight: Night, file: Path) -> Verdict:
    return night.gate(tonight, file)


@fetching_step
def deploy(tonight: Night, verdict: Verdict, facts: dict[str, Any], file: Path) -> Entry:
    return night.deploy(tonight, verdict, facts, file)


@fetching_step
def publish(tonight: Night) -> None:
    night.publish(tonight, get_run_logger().info)
    show_tables(tonight.layout.preview)
    table = history.history_table(tonight.registry.history())
    create_markdown_artifact(tables.markdown(table), key=f"{tonight.settings.study}-history", description="Decisions")


@fetching_step
def notify(tonight: Night, entry: Entry) -> None:
    night.notify(tonight, entry)


@click.command()
@click.argument("settings", default=str(RETRAIN))
def main(settings: str) -> None:
    """Retrain as SETTINGS say; the exit code is 1 if a step failed, 2 for a mistake."""
    exit_on_sigterm()
    start_server()
    state = retrain(settings, return_state=True)
    exit_if_failed(settings, state)
    click.echo(state.message)


if __name__ == "__main__":
    main()
