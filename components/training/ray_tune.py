"""Ray Tune over dotted keys of one experiment: Optuna's sampler proposes, ASHA stops what falls behind.

Trials call the same `fit` as training does, one worker each, with one seed: they differ in what is searched alone. A
search has a name; started again under it, an interrupted search continues and a finished one is only read. A trial that
loses its worker goes on from its last epoch; one that diverges has failed, and is not tried again."""

from __future__ import annotations

import json
import logging
import math
import os
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
import yaml
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from components.config.resolve import Plan, read_plan
from components.config.search import Dimension, Search
from components.errors import UserError
from components.runs.provenance import check_code, code_sha256
from components.training.assemble import TrainingData, assemble, load_start, samples
from components.training.checkpoints import newest_state, open_filesystem, write_state
from components.training.epoch import Record
from components.training.fit import DivergedError, State, fit
from components.training.node_data import SharedData, enter, open_shared, share
from components.training.ray_cluster import cluster, explaining, share_of_cpus
from components.workspace.layout import SearchPaths

HISTORY = "history.json"  # in a trial's checkpoint: the (epoch, val_mae) so far
FAILURES = 3  # times that a trial may lose its worker
BEST = "best_val_mae"  # the smallest so far
MEASURED = ("epoch", "val_mae", "val_rmse", "loss")  # what a trial reports of each epoch

log = logging.getLogger(__name__)


class TrialResult(NamedTuple):
    """One trial: `status` is completed, stopped early or failed; `val_mae` is its smallest."""

    trial: int  # from 1
    status: str
    epochs: int
    val_mae: float  # NaN where it failed
    seconds: float
    values: dict[str, Any]


def run_search(
    plan: Plan, options: Search, data: TrainingData, *, storage: str, name: str, title: str
) -> list[TrialResult]:
    """Run a search, or go on with it, and return its trials in their order; `title` begins what is logged.

    Raises UserError for a key that the experiment does not have, or where every trial failed."""
    for key, dimension in options.space.items():
        for value in dimension.examples():
            plan.with_values({key: value}, f"searches.{title}")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one prints tables whatever the verbosity
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ray's returns what there is, as if it were finished
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    samples(plan, options.seed, data, assemble(plan, options.seed).stride)
    code = code_sha256("search", plan)
    with explaining(storage):
        shared = share(data, *open_filesystem(storage))
    with cluster(), explaining(storage):
        cpus = share_of_cpus(options.concurrent, "searches: concurrent")
        gpus = min(1.0, ray.cluster_resources().get("GPU", 0) / options.concurrent)
        trainable = tune.with_resources(
            tune.with_parameters(run_trial, plan=plan.plain(), options=options, data=shared, code=code),
            {"cpu": cpus, "gpu": gpus},
        )
        with warnings.catch_warnings(action="ignore"):
            results = _tuner(trainable, options, storage, name, title).fit()
    trials = sorted(_trial_result(results[place], options) for place in range(len(results)))
    if all(math.isnan(trial.val_mae) for trial in trials):
        error = str(results[0].error or (results[0].metrics or {}).get("error")).strip().splitlines()[-1]
        raise UserError(f"every trial of {title} failed, one of them with: {error}")
    if any(math.isnan(trial.val_mae) for trial in trials):
        check_code("search", plan, code)
    return trials


def _tuner(trainable: Any, options: Search, storage: str, name: str, title: str) -> tune.Tuner:
    filesystem, root = open_filesystem(storage)
    if tune.Tuner.can_restore(f"{root}/{name}", filesystem):
        return tune.Tuner.restore(
            f"{root}/{name}", trainable, resume_unfinished=True, restart_errored=True, storage_filesystem=filesystem
        )
    return tune.Tuner(
        trainable,
        param_space={key: _distribution(dimension) for key, dimension in options.space.items()},
        tune_config=tune.TuneConfig(
            metric="val_mae",
            mode="min",
            num_samples=options.trials,
            search_alg=OptunaSearch(seed=options.seed),
            scheduler=_Scheduler(
                time_attr="epoch", max_t=options.epochs, grace_period=options.grace_epochs, reduction_factor=2
            ),
            max_concurrent_trials=options.concurrent,
            reuse_actors=True,  # a new one for each trial would take longer than a short trial
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=root,
            storage_filesystem=filesystem,
            failure_config=tune.FailureConfig(max_failures=FAILURES),
            verbose=0,
            callbacks=[_TrialLog(options, title)],
        ),
    )


def run_trial(values: dict[str, Any], *, plan: dict[str, Any], options: Search, data: SharedData, code: str) -> None:
    """What one trial does: the experiment with its own values, reported epoch by epoch."""
    enter(data)
    epochs = {"training.epochs": options.epochs, "training.validate_every": 1}
    check_code("search", read_plan(plan, "plan"), code)
    mine = read_plan(plan, "plan").with_values(values | epochs, "searches")
    torch.set_num_threads(max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1))))
    model = assemble(mine, options.seed)
    saved = _last_state(tune.get_checkpoint())
    if saved is None:
        load_start(model)

    def report(record: Record | None, state: State) -> None:
        assert record is not None, "nothing asks for states within an epoch"
        history = [(each["epoch"], each["val_mae"]) for each in state["history"]]
        best = {BEST: min(val_mae for _, val_mae in history)}
        with tempfile.TemporaryDirectory() as folder:
            write_state({"state": state}, Path(folder))
            (Path(folder) / HISTORY).write_text(json.dumps(history))
            checkpoint = tune.Checkpoint.from_directory(folder)
            tune.report({key: record[key] for key in MEASURED} | best, checkpoint=checkpoint)

    training, validation = samples(mine, options.seed, open_shared(data), model.stride)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    try:
        if saved is not None:  # once more: an interrupted search may have lost this report, or what was decided by it
            report(saved["state"]["history"][-1], saved["state"])
        fit(model, training, validation, mine.training, report=report, state=saved and saved["state"])
    except DivergedError as mistake:  # an exception would be taken for a lost worker, and the trial retried
        tune.report(dict.fromkeys(MEASURED, math.nan) | {"epoch": options.epochs, "error": str(mistake)})


def _last_state(checkpoint: tune.Checkpoint | None) -> dict[str, Any] | None:
    """What a trial goes on from: its last checkpoint, or one before it where that is damaged."""
    if checkpoint is None:
        return None
    folder, _, name = checkpoint.path.rpartition("/")
    assert checkpoint.filesystem is not None
    return newest_state(checkpoint.filesystem, folder, not_after=name)


class _Scheduler(ASHAScheduler):
    """ASHA that knows what the trials of a resumed search reported before: Ray does not save its rungs."""

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_add(tune_controller, trial)
        history = _reported(trial)
        for epoch, val_mae in history if trial.is_finished() else history[:-1]:  # the others report their last again
            self._trial_info[trial.trial_id].on_result(trial, epoch, -val_mae)  # it maximises


def _reported(trial: Trial) -> list[tuple[float, float]]:
    """The (epoch, val_mae) that a trial reported before its last checkpoint, and in it."""
    if trial.checkpoint is None:
        return []
    with suppress(FileNotFoundError, ValueError):  # a damaged checkpoint: the trial reports these epochs once more
        assert trial.checkpoint.filesystem is not None
        with trial.checkpoint.filesystem.open_input_stream(f"{trial.checkpoint.path}/{HISTORY}") as file:
            return [(float(epoch), float(val_mae)) for epoch, val_mae in json.loads(file.readall())]
    return []


class _TrialLog(tune.Callback):
    """Logs each trial that ends. A resumed search has the callback that it began with."""

    def __init__(self, options: Search, title: str) -> None:
        self.options, self.title = options, title

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        last = trial.last_result
        self._ended(trial, "failed" if "error" in last else f"best val_mae {last[BEST]:.4g}")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._ended(trial, "failed")

    def _ended(self, trial: Trial, outcome: str) -> None:
        values = ", ".join(f"{key} {_short(trial.config[key])}" for key in self.options.space)
        epochs, number = trial.last_result.get("epoch", 0), trial.experiment_tag.split("_")[0]
        log.info(
            "%s: trial %s of %d: %s: %s, %.0f epochs", self.title, number, self.options.trials, values, outcome, epochs
        )


def _trial_result(result: tune.Result, options: Search) -> TrialResult:
    number = int(Path(result.path).name.removeprefix("run_trial_").split("_")[1])  # run_trial_<id>_<number>_...
    last, config = result.metrics or {}, result.config or {}
    values = {key: config[key] for key in options.space}
    if BEST not in last or result.error or "error" in last:
        return TrialResult(number, "failed", 0, math.nan, 0.0, values)
    epochs = int(last["epoch"])
    status = "completed" if epochs >= options.epochs else "stopped early"
    return TrialResult(number, status, epochs, float(last[BEST]), float(last["time_total_s"]), values)


def write_trials(paths: SearchPaths, experiment: str, trials: list[TrialResult]) -> TrialResult:
    """Write a row for each trial, and the values of the best one, which is returned."""
    paths.folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([_row(trial) for trial in trials]), paths.trials)
    best = min((trial for trial in trials if not math.isnan(trial.val_mae)), key=lambda trial: trial.val_mae)
    values = {"experiment": experiment, "trial": best.trial, "val_mae": best.val_mae, "values": best.values}
    paths.best.write_text(yaml.safe_dump(values, sort_keys=False))
    return best


def _row(trial: TrialResult) -> dict[str, object]:
    fields = trial._asdict()
    return fields | {f"config.{key}": value for key, value in fields.pop("values").items()}


def _distribution(dimension: Dimension) -> Any:
    if dimension.choice is not None:
        return tune.choice(list(dimension.choice))
    if dimension.loguniform is not None:
        return tune.loguniform(*dimension.loguniform)
    assert dimension.uniform is not None
    return tune.uniform(*dimension.uniform)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
