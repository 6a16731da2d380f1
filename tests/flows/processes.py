"""What the tests of flows share: small repositories, processes that end with their test, and waiting."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import httpx

from components.workspace.processes import end_tree
from tests import stand_in

TABLE = "| experiment | MAE |\n|---|---|\n| fixed | 1.5 |\n"
PUBLISHED = "out/demo/published"


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
