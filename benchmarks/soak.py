"""Short trainings with random faults, each compared bit for bit with the same training undisturbed.

    python -m benchmarks.soak --seed 1 --minutes 30

Every training keeps its state on an S3 server of its own, behind a proxy that can refuse. One to three faults hit it
after random epochs; whenever it ends before its time, the same command is given again. The seed says which faults hit
when, so a seed that failed is tried again with the same command."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import boto3
import numpy as np
import psutil
import torch
from moto.server import ThreadedMotoServer
from pyarrow import fs

from components.config.resolve import Plan, read_plan
from components.training import ray_train
from components.training.assemble import assemble, open_data, samples
from components.training.checkpoints import STATE, checkpoint_names, open_filesystem
from components.training.fit import State, fit
from components.training.ray_cluster import cluster
from components.workspace.processes import call, end_soon_after_signals, end_tree
from tests import crowds
from tests.faulty_s3 import Proxy, proxy

SIZE, SPLITS = (48, 64), ["train"] * 6 + ["val"] * 2
EPOCHS, ATTEMPTS = 8, 8  # of a training; how often its command is given before it counts as failed
REFUSAL = 5.0  # seconds for which the storage refuses
MAPS = ({"kind": "identity"}, {"kind": "generated", "sigmas": [1, 4], "warm_up": 1, "update_every": 2})
SAME, DIFFERENT, UNFINISHED = "the same, bit for bit", "another result", "it did not end"


class Running(NamedTuple):
    """A training that a fault can hit."""

    driver: psutil.Process
    proxy: Proxy
    storage: fs.FileSystem
    folder: str  # of its checkpoints, in the storage


def kill_worker(running: Running) -> None:
    for process in running.driver.children(recursive=True):
        if process.name().startswith("ray::RayTrainW"):
            process.kill()


def kill_driver(running: Running) -> None:
    running.driver.kill()


def interrupt_driver(running: Running) -> None:
    running.driver.send_signal(signal.SIGINT)


def damage_checkpoint(running: Running) -> None:
    """Change a byte of the newest checkpoint; the worker is killed, so that it is asked for."""
    path = f"{running.folder}/{newest(running)}/{STATE}"
    with running.storage.open_input_stream(path) as file:
        content = bytearray(file.readall())
    content[len(content) // 2] ^= 1
    with running.storage.open_output_stream(path) as file:
        file.write(bytes(content))
    kill_worker(running)


def delete_checkpoint(running: Running) -> None:
    running.storage.delete_dir(f"{running.folder}/{newest(running)}")
    kill_worker(running)


def newest(running: Running) -> str:
    return checkpoint_names(running.storage, running.folder)[0]


def refuse(running: Running, status: int) -> None:
    """The storage answers every upload with this status for a while."""
    running.proxy.fault = lambda method, path: status if method in ("PUT", "POST") else 0
    threading.Timer(REFUSAL, setattr, (running.proxy, "fault", lambda method, path: 0)).start()


FAULTS: dict[str, Callable[[Running], None]] = {
    "worker killed": kill_worker,
    "driver killed": kill_driver,
    "Ctrl-C": interrupt_driver,
    "newest checkpoint damaged": damage_checkpoint,
    "newest checkpoint deleted": delete_checkpoint,
    "storage refuses (403)": lambda running: refuse(running, 403),
    "storage overloaded (503)": lambda running: refuse(running, 503),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--drive", nargs=5, help=argparse.SUPPRESS)  # what the processes that are disturbed are given
    options = parser.parse_args()
    if options.drive:
        end_soon_after_signals("soak")
        call("soak", lambda: drive(*options.drive))
    else:
        sys.exit(soak(options.seed, options.minutes))


def drive(plan: str, prepared: str, maps: str, name: str, result: str) -> None:
    """Train as a stage does, say each epoch that ends, and write the last state to the file `result`."""
    with cluster():
        state, _ = ray_train.train(
            read_plan(json.loads(plan), "plan"),
            0,
            open_data(Path(prepared), Path(maps)),
            storage="s3://soak/training",
            name=name,
            on_progress=lambda epochs, record: print(f"{epochs:.0f}", flush=True) if record else None,
        )
    torch.save(state, result)


def soak(seed: int, minutes: float) -> int:
    """Trainings until the time is over, at least one; the exit code."""
    random, outcomes, end = np.random.default_rng(seed), Counter[tuple[str, str]](), time.monotonic() + 60 * minutes
    failed = False
    with tempfile.TemporaryDirectory() as name, storage_server() as server:
        folder = Path(name)
        made = crowds.write(folder, [SIZE] * len(SPLITS), SPLITS)
        plans = [crowds.plan(density_map, epochs=EPOCHS) for density_map in MAPS]
        expected = [undisturbed(plan, made) for plan in plans]
        for number in range(sys.maxsize):
            chosen = number % len(plans)
            count = int(random.integers(1, 4))
            epochs = sorted(random.choice(np.arange(1, EPOCHS), count, replace=False).tolist())
            faults = dict(zip(epochs, random.choice([*FAULTS], count).tolist(), strict=True))
            state, hit = disturbed(plans[chosen], made, f"{seed}-{number}", faults, server, folder)
            outcome = UNFINISHED if state is None else SAME if same(state, expected[chosen]) else DIFFERENT
            failed |= outcome != SAME
            outcomes.update((fault, outcome) for fault in hit.values())
            said = ", ".join(f"{fault} after epoch {epoch}" for epoch, fault in hit.items()) or "no fault"
            print(f"training {number}: {said}: {outcome}", flush=True)
            if time.monotonic() > end:
                break
    print(f"\n{'fault':28}{'times':>6}  the training ended as")
    for (fault, outcome), times in sorted(outcomes.items()):
        print(f"{fault:28}{times:6}  {outcome}")
    print(f"seed {seed} FAILED" if failed else f"seed {seed}: every training ended as the undisturbed one")
    return int(failed)


@contextmanager
def storage_server() -> Iterator[Proxy]:
    """An S3 server behind a proxy, with the bucket `soak`; the environment of this process points at the proxy."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # the server names every request otherwise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "soak")
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    try:
        with proxy(f"http://{host}:{port}") as running:
            os.environ["AWS_ENDPOINT_URL"] = running.address
            boto3.client("s3").create_bucket(Bucket="soak")
            yield running
    finally:
        server.stop()


def undisturbed(plan: Plan, made: tuple[Path, Path]) -> State:
    """The same training without Ray, with as many threads as its one worker has."""
    torch.set_num_threads(os.cpu_count() or 1)
    model = assemble(plan, 0)
    both = samples(plan, 0, open_data(*made), model.stride)
    return fit(model, *both, plan.training, report=lambda record, state: None)


def disturbed(
    plan: Plan, made: tuple[Path, Path], name: str, faults: dict[int, str], server: Proxy, folder: Path
) -> tuple[State | None, dict[int, str]]:
    """The last state of a training that faults hit, each when its epoch is done, or None where it does not end; and
    the faults that did hit: after a restart an epoch may be taken from the state, and not be heard of."""
    storage, root = open_filesystem("s3://soak/training")
    result, hit = folder / f"{name}.pt", dict[int, str]()
    command = [sys.executable, "-m", "benchmarks.soak", "--drive", json.dumps(plan.plain()), *map(str, made)]
    for _ in range(ATTEMPTS):
        with subprocess.Popen(
            [*command, name, str(result)], stdout=subprocess.PIPE, start_new_session=True, text=True
        ) as driver:
            try:
                assert driver.stdout is not None
                for line in driver.stdout:
                    if not line.strip().isdecimal():
                        continue  # Ray's own
                    if (epoch := int(line)) in faults and epoch not in hit:
                        hit[epoch] = faults[epoch]
                        FAULTS[hit[epoch]](Running(psutil.Process(driver.pid), server, storage, f"{root}/{name}"))
                code = driver.wait()
            finally:
                end_tree(driver)
        if code == 0:
            return torch.load(result, weights_only=True), hit
    return None, hit


def same(state: State, expected: State) -> bool:
    """Whether two trainings ended alike: weights, the best ones too, and what each epoch measured."""
    if [each["val_mae"] for each in state["history"]] != [each["val_mae"] for each in expected["history"]]:
        return False
    pairs = [(state["model"], expected["model"]), (state["best"]["model"], expected["best"]["model"])]
    return all(torch.equal(value, theirs[name]) for ours, theirs in pairs for name, value in ours.items())


if __name__ == "__main__":
    main()
