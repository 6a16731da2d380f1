"""What the tests of flows share: small repositories, processes that end with their test, and waiting."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from components.workspace.processes import end_tree
from tests import stand_in
from tests.conftest import ROOT

TABLE = "| experiment | MAE |\n|---|---|\n| fixed | 1.5 |\n"
PUBLISHED = "out/demo/published"

GATE = {
    "held_out": {"source": {"kind": "labelme", "root": "held-out"}},
    "accuracy": {"first": 1e6, "fewest_pairs": 2},
    "sanity": {"flip": 1e6, "resize": 1e6, "tiles": 1e6, "frames": 1e6, "negative": 1e6},
    "supporting": {"blocking": []},
}


def stage(cmd: str, *, out: str, deps: tuple[str, ...] = ()) -> dict:
    return {"cmd": cmd, "outs": [out], "deps": list(deps)}


TWO_STAGES = {
    "prepare": stage("echo counted the dots > dots", out="dots"),
    "publish": stage(
        f"cat dots && mkdir -p {PUBLISHED}/tables && cp table.md {PUBLISHED}/tables/results.md",
        out=PUBLISHED,
        deps=("dots", "table.md"),
    ),
}
SLEEPING = {"sleeper": stage("echo $$ > pid.tmp && mv pid.tmp pid && sleep 600 && touch woken", out="woken")}


def repository(folder: Path, stages: dict) -> Path:
    stand_in.repository(folder, stages)
    (folder / "table.md").write_text(TABLE)
    return folder


class Running:
    """A process in a session of its own, ended with all of its group; what it says is in the file `log`."""

    def __init__(self, words: list[str], folder: Path, environment: dict[str, str]) -> None:
        log = (folder / "log").open("a")
        self.process = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def __enter__(self) -> subprocess.Popen[str]:
        return self.process

    def __exit__(self, *_: object) -> None:
        end_tree(self.process)


def prefect_environment(home: Path) -> dict[str, str]:
    """An environment in which Prefect has a home of its own, and starts a temporary server."""
    return stand_in.ENVIRONMENT | {"PREFECT_HOME": str(home), "PYTHONPATH": f".{os.pathsep}{ROOT}", "NO_COLOR": "1"}


@contextmanager
def server(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The server of Prefect that an environment with a PREFECT_API_URL names, when it answers."""
    home, address = Path(environment["PREFECT_HOME"]), environment["PREFECT_API_URL"]
    home.mkdir(exist_ok=True)
    with Running(["prefect", "server", "start", "--port", str(httpx.URL(address).port)], home, environment) as process:
        until(lambda: httpx.get(f"{address}/health").status_code == 200)
        yield process


def post(environment: dict[str, str], path: str, **body: object) -> list | dict:
    """What the server answers."""
    name, _, password = environment.get("PREFECT_API_AUTH_STRING", "").partition(":")
    auth = (name, password) if password else None
    response = httpx.post(f"{environment['PREFECT_API_URL']}/{path}", json=body, auth=auth, timeout=30)
    response.raise_for_status()
    return response.json()


def until(true, seconds: float = 120) -> None:
    """Wait until `true()`, which may also raise that nothing listens yet."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if true():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    raise AssertionError(f"not true within {seconds} s")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
