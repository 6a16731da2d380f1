"""Ray Tune over dotted keys of one experiment: Optuna's sampler proposes, ASHA stops what falls behind.

Trials call the same `fit` as training does, one worker each, with one seed: they differ in what is searched alone. A
search is known by a name; asked for again under it, an interrupted one goes on and a finished one is only read."""

from __future__ import annotations

import math
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import ray
import torch
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from components.config.resolve import Plan, with_values
from components.config.study import Dimension, Search
from components.errors import UserError
from components.training.assemble import assemble, samples
from components.training.fit import Record, State, fit
from components.training.ray_train import STATE, cluster, opened, read_state, share_of_cpus


class TrialResult(NamedTuple):
    """One trial: `status` is completed, stopped early or failed; `val_mae` is its smallest."""

    trial: int  # from 1
    status: str
    epochs: int
    val_mae: float  # NaN where it failed
    seconds: float
    values: dict[str, Any]


def search(
    plan: Plan, options: Search, prepared: Path, maps: Path, *, storage: str, name: str, say: Callable[[str], None]
) -> list[TrialResult]:
    """Run a search, or go on with it, and return its trials in their order.

    `say` (it can be pickled) hears of each trial that ends. Raises UserError for a key that the experiment does not
    have, or where every trial failed."""
    for key, dimension in options.space.items():
        for value in dimension.examples():
            with_values(plan, {key: value}, "searches")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one prints tables whatever the verbosity
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ray's returns what there is, as if it were finished
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    samples(plan, options.seed, prepared, maps, assemble(plan, options.seed).stride)
    folders = {"root": Path.cwd(), "prepared": prepared.resolve(), "maps": maps.resolve()}
    with cluster():
        cpus = share_of_cpus(options.concurrent, "searches: concurrent")
        gpus = min(1.0, ray.cluster_resources().get("GPU", 0) / options.concurrent)
        trainable = tune.with_resources(
            tune.with_parameters(_trial, plan=plan, options=options, folders=folders), {"cpu": cpus, "gpu": gpus}
        )
        with warnings.catch_warnings(action="ignore"):
            results = _tuner(trainable, options, storage, name, say).fit()
    trials = sorted(_trial_result(results[place], options) for place in range(len(results)))
    if all(math.isnan(trial.val_mae) for trial in trials):
        said = str(results[0].error).strip().splitlines()[-1]
        raise UserError(f"every trial failed; one said: {said}")
    return trials


def _tuner(trainable: Any, options: Search, storage: str, name: str, say: Callable[[str], None]) -> tune.Tuner:
    filesystem, root = opened(storage)
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
            scheduler=ASHAScheduler(
                time_attr="epoch", max_t=options.epochs, grace_period=options.grace_epochs, reduction_factor=2
            ),
            max_concurrent_trials=options.concurrent,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=root,
            storage_filesystem=filesystem,
            verbose=0,
            callbacks=[_Lines(options, say)],
        ),
    )


def _trial(values: dict[str, Any], *, plan: Plan, options: Search, folders: dict[str, Path]) -> None:
    """What one trial does: the experiment with its own values, reported epoch by epoch."""
    os.chdir(folders["root"])
    epochs = {"training.epochs": options.epochs, "training.validate_every": 1}
    mine = with_values(plan, values | epochs, "searches")
    torch.set_num_threads(max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1))))
    model = assemble(mine, options.seed)
    latest = tune.get_checkpoint()
    if latest is None:
        model.counter.start()

    def report(record: Record, state: State) -> None:
        with tempfile.TemporaryDirectory() as folder:
            torch.save({"state": state}, Path(folder) / STATE)
            measured = {key: record[key] for key in ("epoch", "val_mae", "val_rmse", "loss")}
            tune.report(measured, checkpoint=tune.Checkpoint.from_directory(folder))

    training, validation = samples(mine, options.seed, folders["prepared"], folders["maps"], model.stride)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    state = read_state(latest)["state"] if latest else None
    fit(model, training, validation, mine.training, report=report, state=state)


class _Lines(tune.Callback):
    """A line for each trial that ends. A search that goes on has the callback that it began with."""

    def __init__(self, options: Search, say: Callable[[str], None]) -> None:
        self.options, self.say = options, say

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._ended(trial, f"best val_mae {trial.metric_analysis['val_mae']['min']:.4g}")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._ended(trial, "failed")

    def _ended(self, trial: Trial, outcome: str) -> None:
        values = ", ".join(f"{key} {_short(trial.config[key])}" for key in self.options.space)
        epochs, number = trial.last_result.get("epoch", 0), trial.experiment_tag.split("_")[0]
        self.say(f"trial {number} of {self.options.trials}: {values}: {outcome}, {epochs:.0f} epochs")


def _trial_result(result: tune.Result, options: Search) -> TrialResult:
    number = int(Path(result.path).name.removeprefix("_trial_").split("_")[1])  # _trial_<id>_<number>_...
    history, config = result.metrics_dataframe, result.config or {}
    values = {key: config[key] for key in options.space}
    if history is None or history.empty or result.error:
        return TrialResult(number, "failed", 0, math.nan, 0.0, values)
    epochs = int(history["epoch"].max())
    status = "completed" if epochs >= options.epochs else "stopped early"
    seconds = float(history["time_total_s"].max())
    return TrialResult(number, status, epochs, float(history["val_mae"].min()), seconds, values)


def _distribution(dimension: Dimension) -> Any:
    if dimension.choice is not None:
        return tune.choice(list(dimension.choice))
    if dimension.loguniform is not None:
        return tune.loguniform(*dimension.loguniform)
    assert dimension.uniform is not None
    return tune.uniform(*dimension.uniform)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
