"""Ray Train around `fit`, with real workers: killed ones, a killed driver, two of them, and state on S3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from components.config.resolve import Plan
from components.errors import UserError
from components.evaluation.score import score
from components.training import checkpoints, ray_train
from components.training.assemble import assemble, open_data, samples
from components.training.fit import fit
from components.training.ray_cluster import cluster
from tests import crowds
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

CPUS = os.cpu_count() or 1
SIZES = [(96, 128)] * 10
SPLITS = ["train"] * 6 + ["val"] * 3 + ["test"]
GENERATED = {"kind": "generated", "sigmas": [1, 4], "warm_up": 1, "update_every": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path]:
    return crowds.write(tmp_path_factory.mktemp("made"), SIZES, SPLITS)


@pytest.fixture(scope="module")
def ray_cluster(s3) -> Iterator[None]:
    """One cluster for all tests that need none of their own; its workers know the S3 server."""
    with cluster():
        yield


def plain(plan: Plan, made: tuple[Path, Path]) -> dict:
    """The same training without Ray, with as many threads as a lone worker has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(CPUS)
    try:
        model = assemble(plan, 0)
        training, validation = samples(plan, 0, open_data(*made), model.stride)
        return fit(model, training, validation, plan.training, report=lambda record, state: None)
    finally:
        torch.set_num_threads(threads)


def trained(
    plan: Plan, made: tuple[Path, Path], storage: object, progress: Callable | None = None, resume: Callable = list
) -> dict:
    heard = {"on_progress": progress or (lambda epochs, record: None), "on_resume": resume}
    return ray_train.train(plan, 0, open_data(*made), storage=str(storage), name="run", **heard)[0]


def assert_same(first: dict, second: dict) -> None:
    assert first["epoch"] == second["epoch"]
    assert [each["val_mae"] for each in first["history"]] == [each["val_mae"] for each in second["history"]]
    for part in ("model", "best"):
        ours, theirs = (state[part] if part == "model" else state[part]["model"] for state in (first, second))
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def workers(driver: int | None = None, name: str = "ray::RayTrainW") -> list[psutil.Process]:
    """Of a driver's own cluster: another one may train on the same machine."""
    below = psutil.Process(driver).children(recursive=True)
    return [process for process in below if process.is_running() and process.name().startswith(name)]


def progress_saved(storage: Path) -> tuple[int, int]:
    """The epochs of the newest checkpoint, and the steps of the next one that it has."""
    found = checkpoints.newest_state(*checkpoints.open_filesystem(str(storage / "run")))
    state = found["state"] if found else {"epoch": 0}
    return state["epoch"], state["part"]["totals"]["steps"] if "part" in state else 0


@pytest.mark.usefixtures("ray_cluster")
def test_a_run_goes_on_from_within_an_epoch_after_its_worker_was_killed_and_ends_bit_for_bit_the_same(
    made, tmp_path, monkeypatch
) -> None:
    """With a checkpoint after each of six steps an epoch: it goes on from the last step."""
    monkeypatch.setenv("DOTFIELD_CHECKPOINT_SECONDS", "0.001")
    plan, killed, epochs, resumed = crowds.plan(GENERATED, epochs=4, batch_size=1), [], [], []

    def kill_once(done: float, record: dict | None) -> None:
        if record is None:
            return
        epochs.append(record["epoch"])
        if not killed:
            while (saved := progress_saved(tmp_path)) < (1, 3) or saved[1] < 3:
                time.sleep(0.01)
            for process in workers():
                process.kill()
            killed.append(saved)

    state = trained(plan, made, tmp_path, kill_once, lambda history: resumed.append(progress_saved(tmp_path)))
    assert resumed[0] >= killed[0] >= (1, 3)
    assert epochs == [1, 2, 3, 4]
    kept = len(list(tmp_path.glob("run/checkpoint_*")))
    assert kept <= 4, "two are kept; the killed worker may have left one that it had begun, and one not yet removed"
    assert_same(state, plain(plan, made))


DRIVER = """
import json, sys
from pathlib import Path
from components.config.resolve import read_plan
from components.training import ray_train
from components.training.ray_cluster import cluster
from components.training.assemble import open_data
from components.workspace.processes import call, end_soon_after_signals
plan, data = read_plan(json.loads(sys.argv[1]), "plan"), open_data(Path(sys.argv[2]), Path(sys.argv[3]))
show = lambda epochs, record: print(record["epoch"], flush=True) if record else None
def train():
    with cluster():
        ray_train.train(plan, 0, data, storage=sys.argv[4], name="run", on_progress=show)
end_soon_after_signals("train")
call("train", train)
"""


def end(driver: int, how: int | str) -> None:
    """End a driver by a signal, or kill a process of its cluster."""
    if isinstance(how, int):
        os.kill(driver, how)
    else:
        [process] = workers(driver, how)
        process.kill()


def test_a_run_goes_on_after_its_driver_was_ended(made, tmp_path) -> None:
    """By Ctrl-C, by the loss of Ray's controller, and then by a kill."""
    plan, heard, errors = crowds.plan(epochs=30), [], tmp_path / "errors"
    command = [sys.executable, "-c", DRIVER, json.dumps(plan.plain()), *map(str, made), str(tmp_path)]
    for how, last, code in ((signal.SIGINT, 4, 130), ("ray::TrainContr", 8, 2), (signal.SIGKILL, 12, -9)):
        with (
            errors.open("a") as stderr,
            subprocess.Popen(
                command, cwd=ROOT, start_new_session=True, stdout=subprocess.PIPE, stderr=stderr, text=True
            ) as driver,
        ):
            assert driver.stdout
            for line in driver.stdout:
                heard.append(int(line))
                if heard[-1] >= last:  # training went on while the driver before ended
                    end(driver.pid, how)
                    break
            driver.wait()  # before its output is closed: it may say more
        assert driver.returncode == code
    said = errors.read_text().splitlines()
    assert "train: stopped; what is finished is kept" in said
    assert any(line.startswith("train: Ray lost a process of this training (") for line in said)
    assert not any("Traceback" in line for line in said)
    before, here = [], []
    with cluster():
        state = trained(
            plan, made, tmp_path, lambda done, record: here.append(record) if record else None, before.extend
        )
    assert [record["epoch"] for record in before + here] == list(range(1, 31))
    heard += [record["epoch"] for record in here]
    assert heard.count(1) == 1  # it went on from a later epoch than the first, both times
    assert heard[-1] == 30
    assert_same(state, plain(plan, made))


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.skipif(CPUS < 2, reason="two workers need two CPUs")
def test_two_workers_train_as_one_does_although_one_hangs_and_count_every_validation_image_once(
    made, tmp_path, monkeypatch, caplog
) -> None:
    """A checkpoint is written after every step, as worker 0 says. One of them is stopped after the first: the other
    one waits for it, which is what its stacks say, and both are started again."""
    monkeypatch.setenv("DOTFIELD_CHECKPOINT_SECONDS", "0.001")
    monkeypatch.setenv("DOTFIELD_HANG_SECONDS", "10")
    monkeypatch.chdir(tmp_path)
    threading.Thread(target=stop_a_worker, args=(tmp_path,), daemon=True).start()
    one = plain(crowds.plan(GENERATED, epochs=2, batch_size=4), made)
    plan = crowds.plan(GENERATED, epochs=2, batch_size=4, workers=2)
    two = trained(plan, made, tmp_path)
    [stacks] = tmp_path.glob(".dotfield/hung/run-*.txt")
    assert "in train_loop_per_worker" in stacks.read_text()
    assert (
        f"did nothing for too long and is started again; where it hung: {stacks.relative_to(tmp_path)}" in caplog.text
    )
    losses = [[record["loss"] for record in state["history"]] for state in (one, two)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    model = assemble(plan, 0)
    model.load_state_dict(two["model"])
    validation = samples(plan, 0, open_data(*made), 4)[1]
    scores = score(model.predict_image, validation.scored(range(3)), 4)
    expected = np.mean([abs(each.truth - each.prediction) for each in scores])
    assert two["history"][-1]["val_mae"] == pytest.approx(expected, rel=1e-4)


def stop_a_worker(storage: Path) -> None:
    """Stop a worker of two, as a machine that is frozen, when they have saved their first step."""
    while progress_saved(storage) < (0, 1):
        time.sleep(0.01)
    workers()[0].suspend()


@pytest.mark.usefixtures("ray_cluster")
def test_a_finished_run_is_only_read_until_it_is_forgotten_also_on_s3(made, s3) -> None:
    plan, epochs = crowds.plan(epochs=1), []
    heard = lambda done, record: epochs.append(record) if record else None  # noqa: E731
    first = trained(plan, made, "s3://crowds/training", heard)
    assert any(key.startswith("training/run/") and key.endswith(checkpoints.STATE) for key in keys(s3))
    assert_same(trained(plan, made, "s3://crowds/training", heard), first)
    assert len(epochs) == 1
    ray_train.forget("s3://crowds/training", "run")
    assert not any(key.startswith("training/run/") for key in keys(s3))


def keys(client: Any) -> list[str]:
    return [item["Key"] for item in client.list_objects_v2(Bucket="crowds").get("Contents", [])]


@pytest.mark.usefixtures("ray_cluster")
def test_more_workers_than_cpus_are_refused_in_one_line(made, tmp_path) -> None:
    with pytest.raises(UserError, match=r"training\.workers: 99 need as many CPUs"):
        trained(crowds.plan(workers=99), made, tmp_path)


@pytest.mark.usefixtures("ray_cluster")
def test_divergence_on_a_worker_is_a_mistake_said_once(made, tmp_path) -> None:
    diverging = {"kind": "mcnn", "optimiser": {"kind": "sgd", "lr": 1e9}}
    with pytest.raises(UserError, match=r"diverged.*counter\.optimiser\.lr"):
        trained(crowds.plan(counter=diverging, epochs=2), made, tmp_path)


def test_a_mistake_is_told_before_ray_is_asked(made, tmp_path) -> None:
    with pytest.raises(UserError, match=r"training\.crop"):
        trained(crowds.plan(crop=[33, 32]), made, tmp_path)


@pytest.mark.parametrize("address", ["ftp://host/path", "s3://bucket/%zz?"])
def test_a_storage_that_cannot_be_opened_is_named(address: str) -> None:
    with pytest.raises(UserError, match=r"DOTFIELD_STORAGE: .*give a folder, or an address such as s3://bucket/path"):
        ray_train.open_filesystem(address)


def test_a_storage_in_the_home_folder_is_there() -> None:
    assert ray_train.open_filesystem("~/runs")[1] == str(Path.home() / "runs")
