"""The schema of `params/<study>/study.yaml`: frozen, typed, and unknown keys refused.

A study names data sets, annotation maps, experiments and searches. Names are DVC's entry names too, so they match
`[a-z0-9-]+`: nothing else of params ever reaches a shell line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PositiveInt, model_validator

from components.config.options import Choice, Options, check
from components.errors import UserError

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Preset = Literal["paper", "stable"]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what every generator of random numbers takes
SEARCHED = ("counter", "density_map", "loss", "training")
OWN = {"training.epochs", "training.validate_every", "training.workers"}  # a search has these itself


class Split(Options):
    """Shares of the images. `test` is used only where the data set has no test half of its own."""

    val: float = Field(0.2, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)
    seed: Seed = 0


class DatasetEntry(Options):
    """A raw data set and how it is prepared."""

    source: Choice
    longest_side: int | None = Field(None, ge=16, description="images larger than this are scaled down, dots too")
    split: Split = Split()


class MapEntry(Options):
    """An annotation map drawn for one data set; `kernel` chooses a file of `density_maps/drawn`."""

    dataset: Name
    kernel: Choice


class Training(Options):
    """What the loop reads; how each network is updated stands in that network's own options.

    `schedule` "cosine" takes every learning rate down to nothing over the epochs, along half a cosine."""

    epochs: int = Field(100, ge=1)
    batch_size: int = Field(8, ge=1)
    crop: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="(height, width) in pixels; none: whole images"
    )
    flip: bool = True
    target_scale: float | None = Field(None, gt=0, description="maps are multiplied by this; none: 640 / stride^2")
    schedule: Literal["constant", "cosine"] = "cosine"
    validate_every: int = Field(1, ge=1)
    workers: int = Field(1, ge=1, description="Ray Train workers; the order of the samples does not depend on it")
    stop_on_alarm: bool = False


class Experiment(Options):
    """One row of a table: a counter, what it learns from, and the seeds it is trained with."""

    title: str = Field(min_length=1)
    dataset: Name
    counter: Choice
    annotation: Name = Field(description="an entry of `maps`")
    density_map: Choice = Choice(kind="identity")
    loss: Choice = Choice(kind="squared_error")
    preset: Preset = "stable"
    seeds: tuple[Seed, ...] = Field((0,), min_length=1)
    training: dict[str, Any] = Field({})
    published: str | None = Field(None, description="the row of the paper that this one stands beside")

    @model_validator(mode="after")
    def _different_seeds(self) -> Experiment:
        if len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"seeds: {list(self.seeds)} names a seed twice")
        return self


class Dimension(Options):
    """One dimension of a search space: exactly one of the three."""

    loguniform: tuple[float, float] | None = None
    uniform: tuple[float, float] | None = None
    choice: tuple[Any, ...] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _exactly_one(self) -> Dimension:
        if sum(value is not None for value in (self.loguniform, self.uniform, self.choice)) != 1:
            raise UserError("give exactly one of loguniform: [low, high], uniform: [low, high], choice: [...]")
        low, high = self.loguniform or self.uniform or (1, 2)
        if not low < high or (self.loguniform and low <= 0):
            raise UserError("a range is [low, high] with low < high, and low > 0 where it is loguniform")
        return self

    def examples(self) -> tuple[Any, ...]:
        """Values that may be drawn: both ends and one between, or every choice."""
        low, high = self.loguniform or self.uniform or (0, 0)
        return self.choice or (low, high, low + (high - low) / math.pi)


class Search(Options):
    """A search over dotted keys of one experiment, such as `density_map.beta` or `counter.optimiser.lr`."""

    experiment: Name
    trials: int = Field(20, ge=1)
    epochs: int = Field(10, ge=1)
    grace_epochs: int = Field(1, ge=1, description="ASHA stops no trial before this many epochs")
    concurrent: int = Field(1, ge=1)
    seed: Seed = 0
    space: dict[str, Dimension] = Field(min_length=1)

    @model_validator(mode="after")
    def _possible(self) -> Search:
        if self.grace_epochs > self.epochs:
            raise UserError(f"grace_epochs ({self.grace_epochs}) must not be more than epochs ({self.epochs})")
        for key in self.space:
            if key in OWN:
                raise UserError(f"space: {key} is the search's own; see its `epochs` and `concurrent`")
            if key.split(".")[0] not in SEARCHED:
                raise UserError(f"space: {key} is not to be searched; keys begin with {', '.join(SEARCHED)}")
        return self


class Publish(Options):
    """What the tables compare: every experiment with `baseline`, and with the paper's figures.

    `tables` are the paper's tables 2 to 10 that are printed in the paper's own shape."""

    baseline: str = Field(description="an experiment, or a row of `pooled`")
    compared: dict[Name, tuple[Name, ...]] = Field(
        {}, description="further baselines, and the experiments that stand beside each of them"
    )
    tables: tuple[Annotated[int, Field(ge=2, le=10)], ...] = ()
    published: str | None = Field(None, description="a section of components/publish/published.yaml")
    bootstrap: int = Field(2000, ge=100)
    pooled: dict[str, tuple[Name, ...]] = Field(
        {}, description="titles of further rows, and the experiments, such as folds, whose test images each pools"
    )


class Study(Options):
    """Everything in one `study.yaml`."""

    study: Name
    title: str
    datasets: dict[Name, DatasetEntry] = Field(min_length=1)
    maps: dict[Name, MapEntry] = Field(min_length=1)
    training: Training = Training()
    experiments: dict[Name, Experiment] = Field(min_length=1)
    searches: dict[Name, Search] = Field({})
    publish: Publish

    @model_validator(mode="after")
    def _different_titles(self) -> Study:
        named: dict[str, str] = {}
        for name, experiment in self.experiments.items():
            if (other := named.setdefault(experiment.title, name)) != name:
                raise UserError(f"experiments.{name}.title: is that of {other}, and no table would tell them apart")
        return self

    @model_validator(mode="after")
    def _references(self) -> Study:
        for name, entry in self.maps.items():
            _known(f"maps.{name}.dataset", entry.dataset, self.datasets)
        for name, experiment in self.experiments.items():
            _known(f"experiments.{name}.dataset", experiment.dataset, self.datasets)
            _known(f"experiments.{name}.annotation", experiment.annotation, self.maps)
            if self.maps[experiment.annotation].dataset != experiment.dataset:
                raise UserError(f"experiments.{name}.annotation: {experiment.annotation} is drawn for another data set")
            self._check_source(name)
        for name, search in self.searches.items():
            _known(f"searches.{name}.experiment", search.experiment, self.experiments)
            if source := self.source(search.experiment):
                raise UserError(f"searches.{name}.experiment: {search.experiment} takes maps of {source}; search that")
        _known("publish.baseline", self.publish.baseline, {**self.experiments, **self.publish.pooled})
        for base, names in self.publish.compared.items():
            for name in (base, *names):
                _known(f"publish.compared.{base}", name, self.experiments)
            if base == self.publish.baseline:
                raise UserError(f"publish.compared.{base}: is the baseline, with which every experiment is compared")
        for title, names in self.publish.pooled.items():
            self._check_pool(f"publish.pooled.{title}", names)
        return self

    def source(self, name: str) -> str | None:
        """The experiment whose runs, seed by seed, made the density map of an experiment: the one its `run` names."""
        run = self.experiments[name].density_map.options.get("run")
        return run if isinstance(run, str) and run in self.experiments else None

    def _check_pool(self, where: str, names: tuple[str, ...]) -> None:
        for name in names:
            _known(where, name, self.experiments)
        folds = [self.experiments[name] for name in names]
        if len(folds) < 2:
            raise UserError(f"{where}: must name two experiments or more")
        if len({fold.dataset for fold in folds}) < len(folds):
            raise UserError(f"{where}: two of these experiments test one data set; each fold needs its own")
        if not set.intersection(*(set(fold.seeds) for fold in folds)):
            raise UserError(f"{where}: no seed is common to all of these experiments; give them the same `seeds`")

    def _check_source(self, name: str) -> None:
        source, where = self.source(name), f"experiments.{name}.density_map.run"
        if source is None:
            return
        if self.source(source):
            raise UserError(f"{where}: {source} takes its own maps of {self.source(source)}; name that")
        if missing := set(self.experiments[name].seeds) - set(self.experiments[source].seeds):
            raise UserError(f"{where}: {source} is not trained with seed {min(missing)}, which {name} has")


def _known(where: str, name: str, allowed: dict[str, Any]) -> None:
    if name not in allowed:
        raise UserError(f"{where}: {name!r} is not defined; defined are {', '.join(sorted(allowed))}")


def _in_one_line(error: Exception) -> str:
    """What is wrong, and in which line where YAML says so."""
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}: {error.problem}" if mark else " ".join(str(error).split())  # type: ignore[attr-defined]


class _Once(yaml.SafeLoader):
    """YAML in which a key stands once: of two, one would be lost without a word."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._counted: set[yaml.MappingNode] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Count keys as they are written: this puts what is merged (`<<`) among them, and may come by again."""
        seen: set[str] = set()
        for key, _ in node.value if node not in self._counted else ():
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen |= {key.value} if isinstance(key, yaml.ScalarNode) else set()
        self._counted.add(node)
        super().flatten_mapping(node)


def load_study(path: Path) -> Study:
    """Read and check one `study.yaml`. Raises UserError, which names the file and the key."""
    try:
        values = yaml.load(path.read_text(), _Once)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dotfield studies` lists the studies") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not YAML: {_in_one_line(error)}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: must be a mapping of keys, not {type(values).__name__}")
    return check(Study, values, str(path))
