"""A small search with real trials: drawn from the space, recorded, interrupted and gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from components.config.search import Dimension, Search
from components.errors import UserError
from components.training.assemble import open_data
from components.training.ray_tune import TrialResult, run_search
from components.workspace.processes import configure_logging
from tests import crowds
from tests.conftest import ROOT

REFINED = {"kind": "refined", "widths": [4, 4], "warm_up": 1}
OPTIONS = Search(
    experiment="made",
    trials=4,
    epochs=4,
    grace_epochs=1,
    space={
        "density_map.alpha": Dimension(loguniform=(0.1, 10)),
        "density_map.update_every": Dimension(choice=(1, 2)),
        "counter.optimiser.lr": Dimension(loguniform=(1e-5, 1e-3)),
    },
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path]:
    return crowds.write(tmp_path_factory.mktemp("made"), [(48, 64)] * 7, ["train"] * 4 + ["val"] * 2 + ["test"])


def searched(made, storage: Path, options: Search = OPTIONS) -> list[TrialResult]:
    """The trials of a search, whose log is `storage`/log."""
    configure_logging(storage / "log")
    data = open_data(*made)
    return run_search(crowds.plan(REFINED), options, data, storage=str(storage), name="search", title="made")


def logged(storage: Path) -> list[str]:
    """What was logged of each trial that ended, after the search's title."""
    log = storage / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.partition(": made: ")[2] for line in lines if ": made: " in line]


@pytest.fixture(scope="module")
def undisturbed(made, tmp_path_factory) -> tuple[Path, list[TrialResult]]:
    """The storage and the trials of a search that nothing interrupted."""
    storage = tmp_path_factory.mktemp("undisturbed")
    return storage, searched(made, storage)


@pytest.mark.slow
def test_trials_are_drawn_from_the_space_and_a_finished_search_is_only_read(made, undisturbed) -> None:
    storage, trials = undisturbed
    assert [trial.trial for trial in trials] == [1, 2, 3, 4]  # as the log calls them
    for trial in trials:
        assert trial.status in ("completed", "stopped early")
        assert trial.epochs == 4 if trial.status == "completed" else 1 <= trial.epochs < 4
        assert 0.1 <= trial.values["density_map.alpha"] <= 10
        assert trial.values["density_map.update_every"] in (1, 2)
        assert 1e-5 <= trial.values["counter.optimiser.lr"] <= 1e-3
    assert len({trial.values["density_map.alpha"] for trial in trials}) == 4
    assert {trial.status for trial in trials} == {"completed", "stopped early"}
    assert len(logged(storage)) == 4
    for log in (*storage.rglob("result.json"), *storage.rglob("progress.csv")):
        log.unlink()  # Ray's logs of a trial miss reports after an interruption
    assert searched(made, storage) == trials
    assert len(logged(storage)) == 4


DRIVER = """
import sys
from pathlib import Path
from components.workspace.processes import call, end_soon_after_signals
from tests.training.test_ray_tune import searched
end_soon_after_signals("search")
call("search", lambda: searched((Path(sys.argv[1]), Path(sys.argv[2])), Path(sys.argv[3])))
"""


@pytest.mark.slow
def test_an_interrupted_search_ends_as_one_that_was_not(made, undisturbed, tmp_path) -> None:
    """By Ctrl-C, by a kill, and then by the loss of a trial's worker: the same values, epochs, errors and log."""
    command = [sys.executable, "-c", DRIVER, *map(str, made), str(tmp_path)]
    for ended, (number, code) in enumerate(((signal.SIGINT, 130), (signal.SIGKILL, -9)), 1):
        with subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL) as driver:
            while len(logged(tmp_path)) < ended:
                time.sleep(0.1)
                assert driver.poll() is None
            os.kill(driver.pid, number)
            driver.wait(timeout=30)
        assert driver.returncode == code  # a search that Ctrl-C cut off is not a finished one
    killer = threading.Thread(target=kill_a_worker, args=(tmp_path,), daemon=True)
    killer.start()
    trials = searched(made, tmp_path)
    killer.join()
    assert [trial._replace(seconds=0) for trial in trials] == [trial._replace(seconds=0) for trial in undisturbed[1]]
    assert set(logged(tmp_path)) == set(logged(undisturbed[0]))


def kill_a_worker(storage: Path) -> None:
    """Kill the worker of the third trial once that has reported, in this process's cluster."""
    while not list(storage.glob("search/run_trial_*_3_*/checkpoint_000000")):
        time.sleep(0.1)
    below = [each for each in psutil.Process().children(recursive=True) if each.is_running()]
    [worker] = [each for each in below if each.name().startswith("ray::ImplicitFunc")]
    worker.kill()


def test_keys_that_the_experiment_does_not_have_are_named(made, tmp_path) -> None:
    options = OPTIONS.model_copy(update={"space": {"density_map.beta": Dimension(uniform=(0, 1))}})
    with pytest.raises(UserError, match=r"made has no option 'density_map\.beta'"):
        searched(made, tmp_path, options)


@pytest.mark.slow
def test_a_search_in_which_every_trial_fails_says_why(made, tmp_path) -> None:
    space = {"counter.optimiser": Dimension(choice=({"kind": "sgd", "lr": 1e9, "momentum": 0.9, "weight_decay": 0.0},))}
    options = OPTIONS.model_copy(update={"space": space, "trials": 1})
    with pytest.raises(UserError, match=r"every trial of made failed.*diverged"):
        searched(made, tmp_path, options)
