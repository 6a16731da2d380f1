"""One experiment with every option written out.

What the user wrote goes before the preset, and the preset before the defaults: after `plan` nothing is left open."""

from __future__ import annotations

from typing import Any

from components.config import plugins
from components.config.options import Choice, Options, check
from components.config.study import Experiment, Preset, Study, Training
from components.crowd import CountingLoss
from components.errors import UserError

PRESETS = {"paper": {"target_scale": 1.0, "schedule": "constant"}, "stable": {}}


class Plan(Options):
    """A resolved experiment: the whole of what a run depends on, besides its data, its seed and the code."""

    study: str
    experiment: str
    title: str
    dataset: str
    preset: Preset
    counter: Choice
    annotation: Choice  # the kernel of the annotation map
    density_map: Choice
    loss: Choice
    training: Training


def plan(study: Study, name: str) -> Plan:
    """The plan of a study's experiment. Raises UserError for a kind or an option that does not exist."""
    experiment, where = study.experiments[name], f"experiments.{name}"
    check_loss(experiment, where)
    return Plan(
        study=study.study,
        experiment=name,
        title=experiment.title,
        dataset=experiment.dataset,
        preset=experiment.preset,
        counter=_resolved("counter", experiment.counter, f"{where}.counter", experiment.preset),
        annotation=_resolved("drawn map", study.maps[experiment.annotation].kernel, f"maps.{experiment.annotation}"),
        density_map=_resolved("density map", experiment.density_map, f"{where}.density_map", experiment.preset),
        loss=_resolved("loss", experiment.loss, f"{where}.loss", experiment.preset),
        training=training_options(study, experiment, f"{where}.training"),
    )


def loss_of(experiment: Experiment | Plan, where: str, stride: int = 1, scale: float = 1.0) -> CountingLoss:
    """The loss that an experiment names; without its counter's stride and scale, for what it says of itself."""
    options = plugins.resolve("loss", experiment.loss, f"{where}.loss", experiment.preset)
    return plugins.build("loss", experiment.loss.kind, options, stride=stride, scale=scale)


def check_loss(experiment: Experiment | Plan, where: str) -> None:
    """Raises UserError for a density map that its loss would never look at."""
    kind, loss = experiment.density_map.kind, loss_of(experiment, where)
    if not loss.drawn and kind != "identity":
        raise UserError(
            f"{where}.density_map: {kind} is of no use with loss {experiment.loss.kind}, which learns from the dots "
            "themselves; leave density_map out, or choose loss squared_error"
        )


def with_values(base: Plan, values: dict[str, Any], where: str) -> Plan:
    """The plan with dotted keys replaced, such as `density_map.beta`. Raises UserError for a key it does not have."""
    tree = base.model_dump()
    for key, value in values.items():
        *path, last = key.split(".")
        node: Any = tree
        for part in path:
            node = node.get(part) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node:
            raise UserError(f"{where}: {base.experiment} has no option {key!r}")
        node[last] = value
    return _checked(check(Plan, tree, where), where)


def training_options(study: Study, experiment: Experiment, where: str) -> Training:
    """The options of the loop: the experiment's own, then the study's, then the preset's."""
    common = study.training.model_dump(exclude_unset=True)
    return check(Training, PRESETS[experiment.preset] | common | experiment.training, where)


def _resolved(family: str, choice: Choice, where: str, preset: Preset = "stable") -> Choice:
    options = plugins.resolve(family, choice, where, preset)
    return Choice(kind=choice.kind, **options.model_dump(mode="json"))


def _checked(plan: Plan, where: str) -> Plan:
    plugins.resolve("counter", plan.counter, where)
    plugins.resolve("density map", plan.density_map, where)
    check_loss(plan, where)
    return plan
