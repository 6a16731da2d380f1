"""The Ray cluster of a stage: the one that is named, or one of this machine's own, with every failure in one line."""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import ray
import ray.train
from ray.exceptions import AuthenticationError, RayActorError, RayError

import components
from components.errors import UserError
from components.workspace.processes import MISTAKE, abandon, format_error

COMPONENTS = Path(components.__file__).parent
REACHABLE = 10.0  # seconds in which a cluster's address must answer
WATCH_INTERVAL = 0.05  # seconds between two looks at Ray's own processes: Ray looks less often
RAY_PROCESSES = {"raylet": "node manager (raylet)", "gcs_server": "control service (gcs_server)"}
SOCKET_PATH = 107  # bytes: the longest path of a Unix socket
SOCKET_NAME = "session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"  # as long as Ray's can be

log = logging.getLogger(__name__)


@contextmanager
def cluster() -> Iterator[None]:
    """The Ray cluster that RAY_ADDRESS names, or one of this machine's own for the time of the block.

    Raises UserError, which names the cause, where Ray does not start or is not to be reached."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a thread that waits for others leaves its core to them
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # a busy machine needs more than Ray's 30
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")  # how soon Ray sees a report
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address := os.environ.get("RAY_ADDRESS"):
        _check_reachable(address)
        options |= {"runtime_env": {"py_modules": [str(COMPONENTS)]}}  # all nodes run this code, whatever theirs is
    else:
        options |= {"address": "local", "include_dashboard": False, "object_store_memory": 2 * 10**8}
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # this machine is not taken away with notice
        options |= _short_temporary_folder()
    try:
        with _keep_signal_handlers():
            ray.init(**options)
    except TypeError:  # ours
        raise
    except Exception as error:  # Ray raises errors of any type here
        raise UserError(explain_start(error)) from error
    shut_down = threading.Event()
    if not address:  # processes of another cluster may be lost: it goes on without them
        threading.Thread(target=_watch_ray, args=(shut_down,), daemon=True, name="watch-ray").start()
    try:
        yield
    finally:
        shut_down.set()
        ray.shutdown()


@contextmanager
def _keep_signal_handlers() -> Iterator[None]:
    """Ray replaces that of TERM, by one that writes the stack of its C++ code."""
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _watch_ray(shut_down: threading.Event) -> None:
    """End this process in one line when a process of its own Ray is gone: Ray itself would abort with its stack."""
    processes = {each: RAY_PROCESSES.get(each.name()) for each in psutil.Process().children()}
    while not shut_down.wait(WATCH_INTERVAL):
        for process, name in processes.items():
            if name and (not process.is_running() or process.status() == psutil.STATUS_ZOMBIE):
                abandon(
                    f"Ray's {name} ended, killed or for lack of memory; the same command goes on from here", MISTAKE
                )


def explain_start(error: Exception) -> str:
    """Why Ray did not start, or could not be reached, and what to do about it."""
    cause = str(error).strip() or type(error).__name__
    lower = cause.lower()
    file = Path(error.filename) if isinstance(error, OSError) and error.filename else None
    if file and file.is_relative_to(Path.home()):
        remedy = f"Ray keeps a token in {Path.home() / '.ray'}: set HOME to a folder that can be written"
    elif isinstance(error, AuthenticationError) or "token" in lower:
        remedy = "the cluster wants a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the one it was started with"
    elif "af_unix path length" in lower:
        remedy = "set RAY_TMPDIR to a folder with a short path"
    elif "address already in use" in lower or " port " in f" {lower} ":
        remedy = "end what listens on that port, or choose another"
    elif "timed out" in lower or "timeout" in lower:
        remedy = "give the same command again when this machine is less busy"
    elif file:
        remedy = "Ray keeps its sockets and logs there: make it writable, or set RAY_TMPDIR to another folder"
    else:
        remedy = "what Ray wrote about it lies in session_latest/logs below RAY_TMPDIR, by default /tmp/ray"
    return f"Ray did not start ({cause}): {remedy}"


def _short_temporary_folder() -> dict[str, str]:
    """Where Ray is to put its sockets, if the path of the usual folder is too long for one."""
    usual = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(f"{usual}/ray/{SOCKET_NAME}") <= SOCKET_PATH:
        return {}
    short = f"/tmp/ray-{os.getuid()}"
    log.info("Ray's sockets go to %s: the path of %s is too long for them", short, usual)
    return {"_temp_dir": short}


def _check_reachable(address: str) -> None:
    """Raises UserError where nothing answers at a host and port; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=REACHABLE).close()
    except OSError as error:
        raise UserError(
            f"RAY_ADDRESS={address}: nothing answers there ({error}); start the cluster first, or unset RAY_ADDRESS to "
            "train on this machine alone"
        ) from None


def share_of_cpus(parts: int, option: str) -> int:
    """CPUs for each of `parts` workers or trials: of the whole cluster, but no more than its smallest node has.

    Raises UserError, which names the option, where there are more parts than CPUs."""
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    if sum(nodes) < parts:
        raise UserError(f"{option}: {parts} need as many CPUs; Ray has {sum(nodes)}")
    return max(1, min(sum(nodes) // parts, *(cpus for cpus in nodes if cpus)))


@contextmanager
def explaining(storage: str) -> Iterator[None]:
    """Raise UserError for what `explain_failure` explains."""
    try:
        yield
    except (RayError, ray.train.TrainingFailedError, OSError) as error:
        if (text := explain_failure(error, storage)) is None:
            raise
        raise UserError(text) from error


def explain_failure(error: BaseException, storage: str) -> str | None:
    """What a user reads of a storage that refused or is full, of a worker's UserError, or of processes that Ray lost;
    None for any other failure."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and (text := format_error(cause)):
            return text
        if isinstance(cause, OSError) and cause.errno is None and "://" in storage:  # pyarrow's, with a text alone
            return (
                f"DOTFIELD_STORAGE={storage}: {str(cause).splitlines()[0]}; fix that, then give the same command "
                "again: it goes on from the last epoch that was kept"
            )
        if isinstance(cause, UserError):  # of a worker
            return str(cause)
        if isinstance(cause, RayActorError):
            text = str(cause).strip().splitlines()[0]
            return f"Ray lost a process of this training ({text}); the same command goes on from the last epoch"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error of Ray, and all that it says of what caused it."""
    if error is None:
        return
    yield error
    inner = [getattr(error, name, None) for name in ("controller_failure", "_base_exc", "cause", "__cause__")]
    for cause in [*inner, *getattr(error, "worker_failures", {}).values()]:
        if isinstance(cause, BaseException):
            yield from _causes(cause)
