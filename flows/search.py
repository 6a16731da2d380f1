"""A search by Ray Tune whose best values become a candidate, as a Prefect flow: the stage `search`; an experiment of
its own with the best values, trained and tested; then the gate, which deploys it if it is better than what is in use.

`python -m flows.search STUDY SEARCH`. DVC decides what is stale: with the same data, options and code nothing runs, and
the gate is not asked again."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import PositiveInt

from components.config.load import load_options, load_study
from components.config.options import Name
from components.data import availability
from components.errors import UserError
from components.export.export import export
from components.gate.decide import carry_out
from components.gate.judge import judge
from components.gate.policy import Policy
from components.publish import study_tables, tables
from components.runs.folder import read_record
from components.runs.ledger import Entry
from components.runs.registry import Registry, registry_address
from components.workspace import dvc_yaml
from components.workspace.apply_search import add_searched
from components.workspace.layout import DEMO, GATE, Layout
from components.workspace.processes import exit_on_sigterm
from components.workspace.sources import hash_files
from flows import dvc
from flows.ending import exit_if_failed, mistake
from flows.naming import prefect_run, run_name
from flows.reproduce import run_stages, start_server


@flow(flow_run_name=run_name, persist_result=False)
def search(study: Name = DEMO, search: Name = "refined", gate: bool = True, parallel: PositiveInt = 1) -> State | None:
    """Search an experiment's options, train and test it with the best values, and deploy it if the gate says so.

    Args:
        study: A study: the name of a folder in params/.
        search: A search: its name among the `searches` of that study.
        gate: Whether the gate compares the candidate with the counter in use, and deploys it if it is better.
        parallel: How many stages run at the same time; they share this machine's processors.
    """
    layout = Layout(study)
    try:
        availability.require(dvc_yaml.load(layout), str(layout.params))
        if gate:
            load_options(Policy, GATE)  # a mistake in it is said before anything is trained
        if failed := run_stages(dvc.needed(layout, f"search@{search}"), parallel):
            return failed
        show_trials(layout, search)
        candidate = add_searched(layout, search)
        if failed := run_stages(dvc.needed(layout, f"train@{candidate}", f"evaluate@{candidate}"), parallel):
            return failed
        return Completed(message=ask_gate(layout, candidate)) if gate else None
    except UserError as error:
        return mistake(str(error))


def show_trials(layout: Layout, search: str) -> None:
    """The trials as an artifact of this run, keyed `<study>-search-<search>`, best first. Raises UserError where the
    study has no such search."""
    trials = layout.search(search).trials
    if not trials.exists():
        raise UserError(f"{layout.params}: there is no search {search!r} that has ended")
    table = study_tables.search_table(search, trials)
    create_markdown_artifact(tables.markdown(table), key=f"{layout.study}-{table.name}", description=table.caption)


@task(task_run_name="gate {candidate}", cache_policy=NO_CACHE, persist_result=False)
def ask_gate(layout: Layout, candidate: str) -> str:
    """The decision on an experiment's first run, and why."""
    entry = decide(layout, candidate, Registry(registry_address()))
    return f"{entry.decision['outcome']}: {entry.decision['reason']}"


def decide(layout: Layout, candidate: str, registry: Registry) -> Entry:
    """Compare an experiment's first run with the counter in use, deploy it if the gate says GO, and write the decision
    down. One that was made about this run, by this policy, and what is in use now is not made again.

    Raises UserError: the run does not count, or another counter was put in use meanwhile."""
    run = layout.run(candidate, load_study(layout.params).experiments[candidate].seeds[0])
    fingerprint = (read_record(run) or {}).get("provenance", {}).get("fingerprint")
    used = registry.current()
    before = used.counter if used else None
    about = {"ray": fingerprint, "policy": hash_files([GATE])}
    if earlier := _decided(registry, about, before):
        return earlier
    facts = {"search": f"{layout.study}/{candidate}", "prefect": prefect_run(), **about}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "counter.safetensors"
        export(run.folder, file)
        verdict = judge(file, registry.weights(before) if before else None, load_options(Policy, GATE), registry)
        return carry_out(verdict, registry, file, file.with_name(f"{file.name}.md"), facts)


def _decided(registry: Registry, about: dict[str, Any], used: str | None) -> Entry | None:
    """The decision on this run by this policy after which the counter was in use that is in use now."""
    for entry in reversed(registry.history()):
        if about.items() <= entry.decision.items() and (entry.current.counter if entry.current else None) == used:
            return entry
    return None


@click.command()
@click.argument("study")
@click.argument("search_name", metavar="SEARCH")
@click.option("--gate/--no-gate", default=True, show_default=True, help="whether the candidate may be deployed")
@click.option("--parallel", default=1, type=click.IntRange(1), show_default=True, help="stages at the same time")
def main(study: str, search_name: str, gate: bool, parallel: int) -> None:
    """Run SEARCH of STUDY, and train a candidate with its best values; the exit code is 1 if something failed, 2 for a
    mistake."""
    exit_on_sigterm()
    start_server()
    state = search(study, search_name, gate, parallel, return_state=True)
    exit_if_failed(study, state)
    click.echo(state.message)


if __name__ == "__main__":
    main()
