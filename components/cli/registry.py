"""`dotfield deployed`, `deploy`, `rollback`, `history` and `gate`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click

from components.cli.output import json_option, print_json

if TYPE_CHECKING:
    from components.gate.verdict import Verdict
    from components.runs.ledger import Entry
    from components.runs.registry import Deployed, Registry


def _not_empty(context: click.Context, option: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("must say why")
    return value


registry_option = click.option(
    "--registry", metavar="ADDRESS", help="A folder or s3:// address.  [default: DOTFIELD_REGISTRY, or registry/]"
)
reason_option = click.option("--reason", required=True, callback=_not_empty, help="Why, for the ledger.")
HASH_SHOWN = 12  # hexadecimal digits
WHY_SHOWN = 120  # letters; all of them with --json


def open_registry(address: str | None, *, new: bool = False) -> Registry:
    """The registry at an address that was given, or the usual one. What it warns of goes to standard error.

    Raises UserError where a folder was given that there is not, unless it may be `new`."""
    from components.errors import UserError
    from components.runs.registry import Registry, registry_address

    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stderr)
    if address and not new and "://" not in address and not Path(address).expanduser().exists():
        raise UserError(f"{address}: there is no such registry; `dotfield deploy` makes one")
    return Registry(registry_address(address))


@click.command()
@registry_option
@json_option
def deployed(registry: str | None, as_json: bool) -> None:
    """Say which counter is in use, and which one was before."""

    opened = open_registry(registry)
    both = {"current": opened.current(), "previous": opened.previous()}
    if as_json:
        places = {name: None if place is None else place._asdict() for name, place in both.items()}
        print_json(registry=opened.address, **places)
    elif both["current"] is None:
        click.echo(f"{opened.address}: no counter is in use; deploy one with `dotfield deploy RUN --reason TEXT`")
    else:
        for name, place in both.items():
            click.echo(f"{name + ':':9} {'none' if place is None else _deployed_line(place)}")


@click.command()
@click.argument("run")
@reason_option
@registry_option
@json_option
def deploy(run: str, reason: str, registry: str | None, as_json: bool) -> None:
    """Put the counter of RUN in use without asking the gate, and say so in the ledger.

    RUN is a run's folder, a weights file, or STUDY/EXPERIMENT[/SEED]. The counter is written as one file with its model
    card, as `dotfield export` does, and counted with before it is kept."""
    from components.export.export import export
    from components.runs.find import find_weights

    opened, source = open_registry(registry, new=True), find_weights(run)
    used = opened.current()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "counter.safetensors"
        export(source, file)
        counter = opened.add(file, file.with_name(f"{file.name}.md").read_text())
    decision = {"outcome": "DEPLOYED BY HAND", "reason": reason, "run": run}
    entry = opened.deploy(counter, decision, None if used is None else used.counter)
    if used is not None and used.counter == counter:
        click.echo(f"{counter[:HASH_SHOWN]} is in use already: nothing was written", err=True)
    else:
        click.echo("the gate was not asked: this deployment goes around it, which the ledger says", err=True)
    _show(entry, as_json)


@click.command()
@reason_option
@registry_option
@json_option
def rollback(reason: str, registry: str | None, as_json: bool) -> None:
    """Put the previous counter in use again."""

    _show(open_registry(registry).rollback(reason), as_json)


@click.command()
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="PAGE", help="Write a page too.")
@registry_option
@json_option
def history(html: Path | None, registry: str | None, as_json: bool) -> None:
    """List every decision of the registry, the oldest first."""
    from components.publish.history import write_page
    from components.publish.tables import Table, plain

    opened = open_registry(registry)
    entries = opened.history()
    if html:
        write_page(entries, opened.address, html)
    if as_json:
        print_json(entries=[entry.model_dump(mode="json") for entry in entries])
        return
    rows = tuple(
        (str(entry.number), f"{entry.time:%Y-%m-%d %H:%M}", entry.action, _hash(entry.current), *_words(entry.decision))
        for entry in entries
    )
    click.echo(plain(Table("history", "Decisions", ("no", "time (UTC)", "action", "in use", "outcome", "why"), rows)))


@click.command()
@click.argument("candidate")
@click.option("--policy", type=click.Path(path_type=Path), metavar="FILE", help="[default: params/gate.yaml]")
@click.option("--against", metavar="RUN", help="Compare with this counter, not with the one in use.")
@registry_option
@json_option
def gate(candidate: str, policy: Path | None, against: str | None, registry: str | None, as_json: bool) -> None:
    """Say whether CANDIDATE should replace the counter in use: exit code 0 GO, 1 NO-GO, 2 INCONCLUSIVE.

    CANDIDATE is a run's folder, a weights file, or STUDY/EXPERIMENT[/SEED]. Nothing is deployed. What cannot be
    answered for a mistake in the policy or a missing file is exit code 2 too, with one line on standard error."""
    from components.config.load import load_options
    from components.gate.judge import judge
    from components.gate.policy import Policy
    from components.gate.verdict import EXIT_CODES
    from components.runs.find import find_weights
    from components.workspace.layout import GATE

    options, opened = load_options(Policy, policy or GATE), open_registry(registry)
    used = None if against else opened.current()
    current = find_weights(against) if against else None if used is None else opened.weights(used.counter)
    verdict = judge(find_weights(candidate), current, options, opened, str(policy or GATE))
    if as_json:
        print_json(**verdict.as_json())
    else:
        click.echo(_verdict(verdict))
    sys.exit(EXIT_CODES[verdict.outcome])


def _verdict(verdict: Verdict) -> str:
    from components.publish.tables import Table, plain

    order = {"fail": 0, "insufficient": 1, "missing": 1, "pass": 2}
    checks = sorted(verdict.checks, key=lambda check: (check.tier, order[check.verdict]))
    rows = tuple(
        (check.id, check.tier, check.verdict, _number(check.value), _number(check.limit), check.words)
        for check in checks
    )
    table = plain(Table("gate", "Checks", ("check", "tier", "verdict", "value", "limit", "what"), rows))
    held = f"held-out images {verdict.held_out}" if verdict.held_out else "no held-out images"
    compared = f"compared with {verdict.current[:HASH_SHOWN]}" if verdict.current else "no counter in use"
    return f"{table}\n\n{held}\n{verdict.outcome}: {verdict.candidate[:HASH_SHOWN]}, {compared}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _show(entry: Entry, as_json: bool) -> None:
    if as_json:
        print_json(**entry.model_dump(mode="json"))
    else:
        about = _about(entry.metadata)
        click.echo(f"{entry.action} {entry.number}: {_hash(entry.current)} is in use ({about})")


def _deployed_line(place: Deployed) -> str:
    outcome, why = _words(place.decision)
    return (
        f"{place.counter[:HASH_SHOWN]}  {_about(place.metadata)}, since {place.since:%Y-%m-%d %H:%M} UTC, by decision "
        f"{place.entry} ({outcome}{f': {why}' if why else ''})"
    )


def _about(metadata: dict[str, Any]) -> str:
    known = [f"{metadata['study']}/{metadata['experiment']}"] if "study" in metadata else []
    known += [f"seed {metadata['seed']}"] if "seed" in metadata else []
    return " ".join(known) or "of an unknown run"


def _hash(place: Any) -> str:
    return "none" if place is None else str(place.counter[:HASH_SHOWN])


def _words(decision: dict[str, Any]) -> tuple[str, str]:
    """The outcome of a decision, and why, where it says so."""
    return str(decision.get("outcome", "-")), shorten(str(decision.get("reason", "")), WHY_SHOWN, placeholder=" ...")
