"""The curves that a run leaves for other tools, read back by these tools."""

from __future__ import annotations

import csv
import importlib.util
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import UserError
from components.training import loggers
from components.training.progress import EpochProgress
from components.workspace.layout import RunPaths

OPTIONS = {"study": "small", "training": {"epochs": 3}, "seed": 4}
HISTORY = [{"epoch": epoch, "loss": 8.0 / epoch, "seconds": 1.0} for epoch in (1, 2, 3)]
HISTORY[1]["val_mae"] = 5.5


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "seed-4")


def log(paths: RunPaths, kinds: str, monkeypatch: pytest.MonkeyPatch, *heard: list[dict]) -> None:
    """One process that hears these parts of a history."""
    monkeypatch.setenv(loggers.SETTING, kinds)
    with loggers.open_loggers(paths, "fixed, seed 4", OPTIONS) as opened, EpochProgress("fixed", 3, opened) as progress:
        for part in heard:
            progress.catch_up(part)


def tensorboard(paths: RunPaths) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(paths.logs("tensorboard")))
    events.Reload()
    return {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def dvclive(paths: RunPaths) -> dict[str, list[tuple[int, float]]]:
    found = {}
    for file in (paths.logs("dvclive") / "plots/metrics").glob("*.tsv"):
        with file.open() as lines:
            rows = csv.DictReader(lines, delimiter="\t")
            found[file.stem] = [(int(row["step"]), float(row[file.stem])) for row in rows]
    return found


def mlflow(paths: RunPaths) -> dict[str, list[tuple[int, float]]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{paths.logs('mlflow')}/mlflow.db")
    [run] = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    assert (run.info.run_name, run.data.params["training.epochs"]) == ("fixed, seed 4", "3")
    histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return {name: [(point.step, point.value) for point in points] for name, points in histories.items()}


def leveldb_records(log: bytes) -> list[bytes]:
    """The records of a LevelDB log, which wandb's offline files are, after seven bytes of their own."""
    records, place, block = [b""], 7, 2**15
    while place + 7 <= len(log):
        if (left := block - place % block) < 7:
            place += left
            continue
        _, length, part = struct.unpack_from("<IHB", log, place)
        records[-1] += log[place + 7 : place + 7 + length]
        records += [b""] if part in (1, 4) else []  # whole, or the last part
        place += 7 + length
    return records[:-1]


def wandb(paths: RunPaths) -> dict[str, list[tuple[int, float]]]:
    from wandb.proto import wandb_internal_pb2

    [file] = paths.logs("wandb").rglob("run-*.wandb")
    found: dict[str, list[tuple[int, float]]] = {}
    for data in leveldb_records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        for name in values.keys() & {"loss", "seconds", "val_mae"}:
            found.setdefault(name, []).append((values["_step"], values[name]))
    return found


READERS = {"tensorboard": tensorboard, "dvclive": dvclive, "mlflow": mlflow, "wandb": wandb}


def test_every_kind_is_read_back() -> None:
    assert sorted(READERS) == loggers.kinds()


@pytest.mark.parametrize("kind", READERS)
def test_each_epoch_is_logged_once_also_where_it_is_heard_of_again(kind: str, paths: RunPaths, monkeypatch) -> None:
    """A worker was lost after epoch 2; before that, another process had begun the run."""
    pytest.importorskip(kind, reason=f"{kind} is an extra: pip install 'dotfield[{kind}]'")
    left = paths.logs(kind) / "left.txt"
    left.parent.mkdir(parents=True)
    left.touch()
    log(paths, kind, monkeypatch, HISTORY[:2], HISTORY[1:], HISTORY)
    expected = {
        "loss": [(1, 8.0), (2, 4.0), (3, pytest.approx(8 / 3))],
        "seconds": [(epoch, 1.0) for epoch in (1, 2, 3)],
        "val_mae": [(2, 5.5)],
    }
    assert READERS[kind](paths) == expected
    assert not left.exists()


def test_two_are_the_default_and_none_can_be_asked_for(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(loggers.SETTING, raising=False)
    assert loggers.chosen() == ["tensorboard", "dvclive"]
    log(paths, "", monkeypatch, HISTORY)
    assert not paths.folder.exists()


def test_a_kind_that_does_not_exist_is_named(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"DOTFIELD_LOGGERS: there is no logger 'tensorbord'; kinds: dvclive, mlflow, "):
        log(paths, "dvclive,tensorbord", monkeypatch)


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_a_package_that_is_not_installed_is_named(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"wandb needs the package wandb, .*: pip install 'dotfield\[wandb\]'"):
        log(paths, "wandb", monkeypatch)


def test_dvclive_leaves_the_pipeline_alone(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    log(paths, "dvclive", monkeypatch, HISTORY)
    written = {str(file.relative_to(paths.folder)) for file in paths.folder.rglob("*") if file.is_file()}
    tables = {f"logs/dvclive/plots/metrics/{name}.tsv" for name in ("loss", "seconds", "val_mae")}
    assert written == tables | {"logs/dvclive/metrics.json"}
    assert json.loads((paths.logs("dvclive") / "metrics.json").read_text())["step"] == 3


def test_a_repository_without_a_commit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    with pytest.raises(UserError, match=r"Empty git repo\): make a first commit, or leave dvclive out"):
        log(RunPaths(tmp_path / "out/seed-4"), "dvclive", monkeypatch, HISTORY)
