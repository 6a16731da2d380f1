"""One experiment with every option written out and typed: a plan.

What the user wrote goes before the preset, and the preset before the defaults. A plan is resolved once; after that its
parts are passed on as typed options, and nothing is left open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from components.config import plugins
from components.config.options import Choice, Options, check
from components.config.study import Experiment, Preset, Training
from components.crowd import CountingLoss
from components.errors import UserError

PRESETS: dict[str, dict[str, Any]] = {"paper": {"target_scale": 1.0, "schedule": "constant"}, "stable": {}}


@dataclass(frozen=True)
class Kind:
    """A kind that was chosen, with its options."""

    name: str
    options: Options

    def plain(self) -> dict[str, Any]:
        """The same as plain data, as it would stand in a study."""
        return {"kind": self.name, **self.options.model_dump(mode="json")}


@dataclass(frozen=True)
class Plan:
    """A resolved experiment: all that a run depends on, besides its data, its seed and the code."""

    study: str
    experiment: str
    dataset: str
    preset: Preset
    counter: Kind
    annotation: Kind  # the kernel of the annotation map
    density_map: Kind
    loss: Kind
    training: Training

    def plain(self) -> dict[str, Any]:
        """Plain data from which `read_plan` makes the same plan."""
        return {
            "study": self.study,
            "experiment": self.experiment,
            "dataset": self.dataset,
            "preset": self.preset,
            "counter": self.counter.plain(),
            "annotation": self.annotation.plain(),
            "density_map": self.density_map.plain(),
            "loss": self.loss.plain(),
            "training": self.training.model_dump(mode="json"),
        }

    def kinds(self) -> dict[str, str]:
        """The kinds whose code a run is made with, by the names that `components/workspace/sources.py` has for them."""
        return {
            "drawn_map": self.annotation.name,
            "counter": self.counter.name,
            "density_map": self.density_map.name,
            "loss": self.loss.name,
        }

    def named_files(self) -> list[Path]:
        """The files and folders that options of the networks name, such as weights to start from."""
        return [path for kind in (self.counter, self.density_map, self.loss) for path in paths_in(kind.options)]

    def with_values(self, values: Mapping[str, Any], where: str) -> Plan:
        """The plan with dotted keys replaced, such as `density_map.beta`. Raises UserError: no such key, or its value
        is not allowed."""
        tree = self.plain()
        for key, value in values.items():
            *path, last = key.split(".")
            node: Any = tree
            for part in path:
                node = node.get(part) if isinstance(node, dict) else None
            if not isinstance(node, dict) or last not in node:
                raise UserError(f"{where}: {self.experiment} has no option {key!r}")
            node[last] = value
        return read_plan(tree, where)


class _Written(Options):
    """A plan as plain data."""

    study: str
    experiment: str
    dataset: str
    preset: Preset
    counter: Choice
    annotation: Choice
    density_map: Choice
    loss: Choice
    training: Training


def read_plan(values: Any, where: str) -> Plan:
    """The plan that `Plan.plain` wrote. Raises UserError: a key or a value that is not allowed."""
    written = check(_Written, values, where)
    plan = Plan(
        study=written.study,
        experiment=written.experiment,
        dataset=written.dataset,
        preset=written.preset,
        counter=_resolve("counter", written.counter, f"{where}.counter", written.preset),
        annotation=_resolve("drawn map", written.annotation, f"{where}.annotation", written.preset),
        density_map=_resolve("density map", written.density_map, f"{where}.density_map", written.preset),
        loss=_resolve("loss", written.loss, f"{where}.loss", written.preset),
        training=written.training,
    )
    check_loss(plan.loss, plan.density_map.name, where)
    return plan


def resolve(experiment: Experiment, kernel: Choice, study: str, name: str, where: str) -> Plan:
    """The plan of an experiment whose annotation map is drawn with `kernel`; `where` begins every error.

    Raises UserError for a kind or an option that does not exist."""
    values = {
        "study": study,
        "experiment": name,
        "dataset": experiment.dataset,
        "preset": experiment.preset,
        "counter": experiment.counter.model_dump(),
        "annotation": kernel.model_dump(),
        "density_map": experiment.density_map.model_dump(),
        "loss": experiment.loss.model_dump(),
        "training": training_options(experiment, f"{where}.training").model_dump(),
    }
    return read_plan(values, where)


def training_options(experiment: Experiment, where: str) -> Training:
    """The options of the loop: the experiment's before the preset's. Raises UserError for one that is not allowed."""
    return check(Training, PRESETS[experiment.preset] | experiment.training, where)


def build_loss(loss: Kind, stride: int = 1, scale: float = 1.0) -> CountingLoss:
    """The loss object; without its counter's stride and target scale, for what it says of itself."""
    built: CountingLoss = plugins.build("loss", loss.name, loss.options, stride=stride, scale=scale)
    return built


def check_loss(loss: Kind, density_map: str, where: str) -> None:
    """Raises UserError for a density map that the loss would never read."""
    if density_map != "identity" and not build_loss(loss).uses_density_map:
        raise UserError(
            f"{where}.density_map: {density_map} is of no use with loss {loss.name}, which learns from the dots "
            "themselves; leave density_map out, or choose loss squared_error"
        )


def paths_in(options: BaseModel) -> Iterator[Path]:
    """Every file or folder that a set of options names."""
    for name in type(options).model_fields:
        value = getattr(options, name)
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, Path):
                yield each
            elif isinstance(each, BaseModel):
                yield from paths_in(each)


def _resolve(family: str, choice: Choice, where: str, preset: Preset) -> Kind:
    return Kind(choice.kind, plugins.resolve(family, choice, where, preset))
