"""The schema of `params/<study>/study.yaml`: frozen, typed, and unknown keys are refused.

A study names data sets, annotation maps, experiments and searches. Their names become entries of `dvc.yaml`, so they
match `[a-z0-9-]+`: nothing else of params ever reaches a shell line.

**Defaults of all experiments** stand once at the top of a study: `preset`, `seeds`, `dataset`, `counter`, `training`.
An experiment may override each of them: `counter` and `training` are merged key by key, the others are replaced.

**`extends: table-3`** takes over what another study of params/ says, all but its `study` and `title`. The study's own
keys are merged into that: mappings key by key; lists, numbers and strings are replaced; and `null` removes what the
other study has.

In both, a mapping that names another `kind` replaces the whole mapping, since options belong to a kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from components.config.options import Choice, Name, Options, Seed
from components.config.search import Search
from components.errors import UserError

Preset = Literal["paper", "stable"]
WORDS = {"title", "published"}  # keys of an experiment that change no number
SCENE = "scene"  # the value of a split's `group` that stands for the data set's own scenes
TESTING = "averaging"  # the key of an experiment that changes how its runs are tested, but not the runs


class Split(Options):
    """How images are divided. `val`, `test`, `seed` and `group` are used only for splits that the data set does not
    have of its own; `copies` only for those that it has."""

    val: float = Field(0.2, gt=0, lt=1, description="share of the training images")
    test: float = Field(0.2, gt=0, lt=1, description="share of the images")
    seed: Seed = Field(0, description="draws the images of a split")
    group: str | None = Field(
        None,
        description="what stays on one side: `scene`, or a regular expression in ids, whose (first group) names it",
    )
    copies: Literal["drop", "keep"] = Field(
        "drop", description="images of a training or validation half of which a held-out half has a copy"
    )

    @model_validator(mode="after")
    def _check_shares(self) -> Split:
        if self.val + self.test >= 1:
            raise UserError(f"val ({self.val:g}) and test ({self.test:g}) leave no training images; lower one of them")
        return self

    @field_validator("group")
    @classmethod
    def _check_group(cls, group: str | None) -> str | None:
        try:
            if group not in (None, SCENE) and not re.compile(group).groups:
                raise UserError(f"{group!r} must be {SCENE!r}, or have a group in parentheses, such as '(cam[0-9]+)'")
        except re.error as error:
            raise UserError(f"{group!r} is not a regular expression: {error}") from None
        return group


class DatasetEntry(Options):
    """A raw data set and how it is prepared."""

    source: Choice = Field(description="the kind of data set, with its `root`")
    longest_side: int | None = Field(None, ge=16, description="images larger than this are scaled down, dots too")
    objects: str = Field("people", min_length=1, description="what is counted")
    split: Split = Field(Split(), description="how images are divided")


class MapEntry(Options):
    """An annotation map drawn for one data set; `kernel` chooses a file of `density_maps/drawn`."""

    dataset: Name = Field(description="an entry of `datasets`")
    kernel: Choice = Field(description="a drawn map: how wide the Gaussian of each dot is")


class Augmentation(Options):
    """Random changes to training images; without options there are none."""

    scale: tuple[PositiveFloat, PositiveFloat] = Field(
        (1.0, 1.0), description="images are resized by a factor from this range; dots and maps follow"
    )
    brightness: float = Field(0.0, ge=0, lt=1, description="times a factor of 1 +- this")
    contrast: float = Field(0.0, ge=0, lt=1, description="times a factor of 1 +- this")
    saturation: float = Field(0.0, ge=0, lt=1, description="times a factor of 1 +- this")
    grey: float = Field(0.0, ge=0, le=1, description="share of images without colour")
    jpeg: float = Field(0.0, ge=0, le=1, description="share of images with the noise of JPEG")

    @model_validator(mode="after")
    def _check_scale(self) -> Augmentation:
        if self.scale[0] > self.scale[1]:
            raise UserError(f"scale: {list(self.scale)} must be [smallest, largest]")
        return self

    @property
    def resizes(self) -> bool:
        return self.scale != (1.0, 1.0)

    @property
    def changes_look(self) -> bool:
        return any((self.brightness, self.contrast, self.saturation, self.grey, self.jpeg))


class Training(Options):
    """What the loop reads; how each network is updated stands in that network's own options.

    `schedule` "cosine" lowers every learning rate to zero over the epochs, along half a cosine."""

    epochs: int = Field(
        100,
        ge=0,
        description="how often each training image is seen; 0: the weights that the counter starts from are kept as "
        "they are",
    )
    batch_size: int = Field(8, ge=1, description="crops in a step, over all workers")
    crop: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="(height, width) in pixels; none: whole images"
    )
    flip: bool = Field(True, description="each crop is mirrored with probability 1/2")
    augmentation: Augmentation = Field(Augmentation(), description="random changes to training images")
    average: float | None = Field(
        None, gt=0, lt=1, description="decay, a step, of a moving average of the counter's weights; none: no average"
    )
    target_scale: float | None = Field(None, gt=0, description="maps are multiplied by this; none: 640 / stride^2")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="of every learning rate over the epochs")
    validate_every: int = Field(1, ge=1, description="epochs between two looks at the validation images")
    workers: int = Field(1, ge=1, description="Ray Train workers; the order of the samples does not depend on it")
    stop_on_alarm: bool = Field(False, description="a collapse alarm ends the run; else it is a warning")
    max_skipped: int = Field(
        5,
        ge=0,
        description="steps in a row with a loss or gradient that is not finite, which are skipped; after more, "
        "training goes back to the last epoch at half the learning rates; the second time it stops",
    )


class Averaging(Options):
    """Predictions that are averaged when test images are counted; without options each is made once, as it is."""

    flip: bool = Field(False, description="also of the mirrored image")
    scales: tuple[PositiveFloat, ...] = Field((1.0,), min_length=1, description="of the image resized by each factor")


class Experiment(Options):
    """One row of a table: a counter, what it learns from, and the seeds it is trained with."""

    title: str = Field(min_length=1, description="without one, the experiment's name")
    dataset: Name = Field(description="an entry of `datasets`")
    counter: Choice = Field(description="the network that is trained, with its options")
    annotation: Name = Field(description="an entry of `maps`")
    density_map: Choice = Field(Choice(kind="identity"), description="what the counter learns from")
    loss: Choice = Field(Choice(kind="squared_error"), description="of the counter's outputs")
    preset: Preset = Field("stable", description="defaults of kinds: ours, or the paper's literal settings")
    seeds: tuple[Seed, ...] = Field((0,), min_length=1, description="one run for each")
    training: dict[str, Any] = Field({}, description="merged into the study's `training`")
    averaging: Averaging = Field(Averaging(), description="of several predictions of a test image")
    published: str | None = Field(None, description="the row of the paper that this one stands beside")

    @model_validator(mode="after")
    def _check_seeds(self) -> Experiment:
        if len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"seeds: {list(self.seeds)} names a seed twice")
        return self


class Publish(Options):
    """What the tables compare: every experiment with `baseline`, and with the paper's figures.

    `tables` are the paper's tables 2 to 10 that are printed in the paper's own shape."""

    baseline: str = Field(description="an experiment, or a row of `pooled`")
    compared: dict[Name, tuple[Name, ...]] = Field(
        {}, description="further baselines, and the experiments that stand beside each of them"
    )
    tables: tuple[Annotated[int, Field(ge=2, le=10)], ...] = Field((), description="of the paper, in its own shape")
    published: str | None = Field(None, description="a section of components/publish/published.yaml")
    bootstrap: int = Field(2000, ge=100, description="replicates behind each interval")
    pooled: dict[str, tuple[Name, ...]] = Field(
        {}, description="titles of further rows, and the experiments, such as folds, whose test images each pools"
    )


class Defaults(Options):
    """What the experiments of a study share: said once, at the study's top."""

    preset: Preset = Field("stable", description="defaults of kinds: ours, or the paper's literal settings")
    seeds: tuple[Seed, ...] = Field((0,), min_length=1, description="one run for each")
    dataset: Name | None = Field(None, description="an entry of `datasets`")
    counter: Choice | None = Field(None, description="the network that is trained, with its options")
    training: Training = Field(Training(), description="what the loop reads")


class Study(Defaults):
    """Everything in one `study.yaml`. Its experiments hold the study's defaults, each where it says nothing else."""

    study: Name = Field(description="the name of its folder in params/")
    title: str = Field(description="of its tables and its report")
    extends: Name | None = Field(None, description="the study of params/ that was merged in")
    datasets: dict[Name, DatasetEntry] = Field(min_length=1, description="raw data, by names of yours")
    maps: dict[Name, MapEntry] = Field(min_length=1, description="annotation maps, by names of yours")
    experiments: dict[Name, Experiment] = Field(min_length=1, description="rows of the tables, by names of yours")
    searches: dict[Name, Search] = Field({}, description="of good options, by names of yours")
    publish: Publish = Field(description="what the tables compare")

    @model_validator(mode="before")
    @classmethod
    def _apply_defaults(cls, values: Any) -> Any:
        """Merge each experiment into the study's defaults; what is no mapping is left for the schema to refuse."""
        experiments = values.get("experiments")
        if not isinstance(experiments, dict):
            return values
        shared = {key: values[key] for key in Defaults.model_fields if key in values}
        whole = {
            name: merge({"title": name, **shared}, own) if isinstance(own, dict) else own
            for name, own in experiments.items()
        }
        return {**values, "experiments": whole}

    @model_validator(mode="after")
    def _check_titles(self) -> Study:
        titles: dict[str, str] = {}
        for name, experiment in self.experiments.items():
            if (other := titles.setdefault(experiment.title, name)) != name:
                raise UserError(f"experiments.{name}.title: is also that of {other}: tables could not tell them apart")
        return self

    @model_validator(mode="after")
    def _check_references(self) -> Study:
        for name, entry in self.maps.items():
            _check_defined(f"maps.{name}.dataset", entry.dataset, self.datasets)
        for name, experiment in self.experiments.items():
            _check_defined(f"experiments.{name}.dataset", experiment.dataset, self.datasets)
            _check_defined(f"experiments.{name}.annotation", experiment.annotation, self.maps)
            if self.maps[experiment.annotation].dataset != experiment.dataset:
                raise UserError(f"experiments.{name}.annotation: {experiment.annotation} is drawn for another data set")
            self._check_frozen(name)
        for name, search in self.searches.items():
            _check_defined(f"searches.{name}.experiment", search.experiment, self.experiments)
            if source := self.frozen_from(search.experiment):
                raise UserError(
                    f"searches.{name}.experiment: {search.experiment} takes the maps of {source}; search that instead"
                )
        _check_defined("publish.baseline", self.publish.baseline, {**self.experiments, **self.publish.pooled})
        for base, names in self.publish.compared.items():
            for name in (base, *names):
                _check_defined(f"publish.compared.{base}", name, self.experiments)
            if base == self.publish.baseline:
                raise UserError(f"publish.compared.{base}: is the baseline, with which every experiment is compared")
        for title, names in self.publish.pooled.items():
            self._check_pool(f"publish.pooled.{title}", names)
        return self

    def frozen_from(self, name: str) -> str | None:
        """The experiment of this study whose runs make the density maps of experiment `name`: the one that the option
        `run` of its density map names. A seed takes the run with the same seed."""
        run = self.experiments[name].density_map.options.get("run")
        return run if isinstance(run, str) and run in self.experiments else None

    def _check_pool(self, where: str, names: tuple[str, ...]) -> None:
        for name in names:
            _check_defined(where, name, self.experiments)
        folds = [self.experiments[name] for name in names]
        if len(folds) < 2:
            raise UserError(f"{where}: must name two experiments or more")
        if len({fold.dataset for fold in folds}) < len(folds):
            raise UserError(f"{where}: two of these experiments test one data set; each fold needs its own")
        if not set.intersection(*(set(fold.seeds) for fold in folds)):
            raise UserError(f"{where}: no seed is common to all of these experiments; give them the same `seeds`")

    def _check_frozen(self, name: str) -> None:
        source, where = self.frozen_from(name), f"experiments.{name}.density_map.run"
        if source is None:
            return
        if first := self.frozen_from(source):
            raise UserError(f"{where}: {source} itself takes the maps of {first}; name {first}")
        if missing := set(self.experiments[name].seeds) - set(self.experiments[source].seeds):
            raise UserError(f"{where}: {source} is not trained with seed {min(missing)}, which {name} has")


def merge(below: dict[str, Any], above: dict[str, Any], *, null_removes: bool = False) -> dict[str, Any]:
    """Merge two mappings: `above` wins, key by key, also inside mappings, unless the two name different kinds.

    With `null_removes`, a null in `above` removes the key that `below` has; otherwise it is a value like others."""
    if "kind" in below and above.get("kind", below["kind"]) != below["kind"]:
        return above
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            merged[key] = merge(below[key], value, null_removes=null_removes)
        elif value is None and null_removes and key in below:
            del merged[key]
        else:
            merged[key] = value
    return merged


def _check_defined(where: str, name: str, allowed: Mapping[str, Any]) -> None:
    if name not in allowed:
        raise UserError(f"{where}: {name!r} is not defined; defined are {', '.join(sorted(allowed))}")
