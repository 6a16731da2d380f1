"""Scheduled runs on this machine in one command: `python -m flows.serve`, or `make serve`.

Starts a server of Prefect, a process pool, the deployments of `prefect.yaml` and a worker, and ends all of them
together. The server listens on loopback alone, asks for a user and password, and protects its forms (CSRF). What else
Prefect and Ray read from the environment holds as well, such as `PREFECT_SERVER_DATABASE_CONNECTION_URL` and
`RAY_ADDRESS`."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import IO, Any

import click
import yaml

from components.config.load import load_options
from components.config.retrain import Retrain
from components.errors import UserError
from components.inbox.raw_set import open_raw_set
from components.workspace.layout import DEPLOYMENTS, SERVED, SERVER_AUTH, SERVER_HOME, SERVER_LOG
from components.workspace.processes import call, end_tree, exit_on_sigterm, python_environment

HOST = "127.0.0.1"
AUTH = "PREFECT_SERVER_API_AUTH_STRING"  # environment variable: USER:PASSWORD
POOL = "dotfield"  # as in prefect.yaml
SLOWEST_START = 180  # seconds until a server that does not answer is given up
LAST_LINES = 5  # of what a part of Prefect said before it failed


@click.command()
@click.option("--port", default=4200, type=click.IntRange(1, 65535), show_default=True, help="of the server")
@click.option("--limit", default=1, type=click.IntRange(1), show_default=True, help="runs of flows at the same time")
def main(port: int, limit: int) -> None:
    """Serve the deployments of prefect.yaml until Ctrl-C.

    PREFECT_SERVER_API_AUTH_STRING is USER:PASSWORD; without it a password is made, kept, and said on standard error."""
    exit_on_sigterm()
    signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))  # the terminal was closed
    call("serve", lambda: serve(port, limit))


def serve(port: int, limit: int) -> None:
    """Run until interrupted. Raises UserError: no prefect.yaml, a port that is taken, or a part that ends."""
    check_port(port)
    if not DEPLOYMENTS.is_file():
        raise UserError(f"{DEPLOYMENTS}: no such file; give the command in the project's folder")
    environment = server_environment(port, auth_string())
    deployments, paused = pause_schedules(yaml.safe_load(DEPLOYMENTS.read_text()))
    with ExitStack() as running:
        SERVER_LOG.parent.mkdir(parents=True, exist_ok=True)
        log = running.enter_context(SERVER_LOG.open("w"))
        server = start(running, environment, "server", "start", "--host", HOST, "--port", str(port), output=log)
        wait_for(server, "health", environment)
        words = ("--pool", POOL, "--type", "process", "--name", socket.gethostname(), "--limit", str(limit))
        worker = start(running, environment, "worker", "start", *words)
        wait_for(worker, f"work_pools/{POOL}", environment)
        deploy(deployments, environment)
        for name, reason in paused.items():
            click.echo(f"{name}: its schedule is paused: {reason}")
        names = ", ".join(each["name"] for each in deployments["deployments"])
        click.echo(f"http://{HOST}:{port} serves {names}; Ctrl-C ends it")
        while server.poll() is None and worker.poll() is None:
            time.sleep(0.5)
        raise UserError(f"the {'worker' if server.poll() is None else f'server ({SERVER_LOG})'} ended by itself")


def check_port(port: int) -> None:
    """Raises UserError where something else listens on this port."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise UserError(f"port {port} of {HOST} cannot be used ({error.strerror}); give another --port") from None


def auth_string() -> str:
    """USER:PASSWORD from the environment, or else one that is made once and kept in a file for this user alone.

    Raises UserError where the environment's is not of that form."""
    if given := os.environ.get(AUTH):
        if not all(given.partition(":")):
            raise UserError(f"{AUTH}: must be USER:PASSWORD")
        return given
    SERVER_AUTH.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = SERVER_AUTH.read_text().strip() if SERVER_AUTH.exists() else ""
    if not all(made.partition(":")):  # none yet, or cut off when it was written
        made = f"admin:{secrets.token_urlsafe(18)}"
        SERVER_AUTH.unlink(missing_ok=True)
        with open(SERVER_AUTH, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(f"{made}\n")
    SERVER_AUTH.chmod(0o600)
    click.echo(f"sign in with {made} (kept in {SERVER_AUTH}; {AUTH} sets another)", err=True)
    return made


def server_environment(port: int, auth: str) -> dict[str, str]:
    """For the server, and for what speaks to it. A home of its own keeps this server from any other of the user's."""
    home = os.environ.get("PREFECT_HOME", str(SERVER_HOME.resolve()))
    return python_environment() | {
        "PREFECT_HOME": home,
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_API_AUTH_STRING": auth,
        AUTH: auth,
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "true",
    }


def start(
    running: ExitStack, environment: dict[str, str], *words: str, output: IO[str] | None = None
) -> subprocess.Popen[str]:
    """Start a part of Prefect in a session of its own, which a terminal's Ctrl-C does not reach: `running` ends its
    parts one after the other, the last first."""
    process = subprocess.Popen(
        _prefect(*words), env=environment, stdout=output, stderr=output, text=True, start_new_session=True
    )
    running.callback(_end, process)
    return process


def wait_for(process: subprocess.Popen[str], path: str, environment: dict[str, str]) -> None:
    """Wait until the server knows a path, which this process brings about. Raises UserError where the process ends
    before, or does not get there in minutes."""
    user = base64.b64encode(environment[AUTH].encode()).decode()
    url = f"{environment['PREFECT_API_URL']}/{path}"
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {user}"})
    end = time.monotonic() + SLOWEST_START
    while process.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(request, timeout=5).close()
            return
        except OSError:  # an answer such as "404 Not Found" is one, too
            time.sleep(0.3)
    raise UserError(f"{url} does not answer; the server says: {_last_lines(SERVER_LOG.read_text())}")


def pause_schedules(deployments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The contents of prefect.yaml, with the schedules paused of nights that could only fail; and for each deployment
    whose schedule is paused, there or here, the reason."""
    changed, paused = deepcopy(deployments), dict[str, str]()
    for each in changed["deployments"]:
        settings, schedules = each.get("parameters", {}).get("settings"), each.get("schedules", [])
        mistake = _mistake_in(Path(settings)) if settings else ""
        if mistake:
            each["schedules"] = [schedule | {"active": False} for schedule in schedules]
            paused[each["name"]] = f"{mistake}; fix this, then serve again"
        elif any(schedule.get("active") is False for schedule in schedules):
            paused[each["name"]] = f"{DEPLOYMENTS} says `active: false`"
    return changed, paused


def _mistake_in(settings: Path) -> str:
    """Why no night can run with these settings, such as a study that is not there; "" where one can."""
    try:
        open_raw_set(load_options(Retrain, settings))
    except UserError as error:
        return f"{settings}: {error}" if str(settings) not in str(error) else str(error)
    return ""


def deploy(deployments: dict[str, Any], environment: dict[str, str]) -> None:
    """Make the server's deployments these. Raises UserError with what Prefect says of it."""
    SERVED.write_text(yaml.safe_dump(deployments))
    done = subprocess.run(
        _prefect("--no-prompt", "deploy", "--all", "--prefect-file", str(SERVED)),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"{DEPLOYMENTS} was not deployed: {_last_lines(done.stdout)}")


def _prefect(*words: str) -> list[str]:
    return [sys.executable, "-m", "prefect", *words]


def _last_lines(text: str) -> str:
    return " ".join(" ".join(text.splitlines()[-LAST_LINES:]).split()) or "it said nothing"


def _end(process: subprocess.Popen[str]) -> None:
    """A second Ctrl-C must not leave half of the parts running."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_tree(process)


if __name__ == "__main__":
    main()
