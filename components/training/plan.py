"""One experiment with every option written out, and the objects that it stands for.

What the user wrote goes before the preset, and the preset before the defaults: after `plan` nothing is left open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from components import plugins
from components.losses.counting import CountingLoss
from components.options import Choice, Options, check
from components.packing import Pack
from components.params import Experiment, Preset, Study, Training
from components.prepared import Prepared
from components.training.joint import JointModel
from components.training.samples import Samples

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
    """The plan of a study's experiment. Raises ValueError for a kind or an option that does not exist."""
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
    """Raises ValueError for a density map that its loss would never look at."""
    kind, loss = experiment.density_map.kind, loss_of(experiment, where)
    if not loss.drawn and kind != "identity":
        raise ValueError(
            f"{where}.density_map: {kind} is of no use with loss {experiment.loss.kind}, which learns from the dots "
            "themselves; leave density_map out, or choose loss squared_error"
        )


def with_values(base: Plan, values: dict[str, Any], where: str) -> Plan:
    """The plan with dotted keys replaced, such as `density_map.beta`. Raises ValueError for a key it does not have."""
    tree = base.model_dump()
    for key, value in values.items():
        *path, last = key.split(".")
        node: Any = tree
        for part in path:
            node = node.get(part) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node:
            raise ValueError(f"{where}: {base.experiment} has no option {key!r}")
        node[last] = value
    return _checked(check(Plan, tree, where), where)


def assemble(plan: Plan, seed: int) -> JointModel:
    """The model, started from `seed`: one seed starts the same counter whatever the density map is."""
    counter_options = plugins.resolve("counter", plan.counter, plan.experiment)
    map_options = plugins.resolve("density map", plan.density_map, plan.experiment)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        counter = plugins.build("counter", plan.counter.kind, counter_options).to(memory_format=torch.channels_last)
        scale = plan.training.target_scale or 640 / counter.stride**2  # x 40 at stride 4, x 10 at stride 8
        torch.manual_seed(seed + 1)
        maps = plugins.build("density map", plan.density_map.kind, map_options, stride=counter.stride, scale=scale)
    maps = maps.to(memory_format=torch.channels_last)
    return JointModel(counter, maps, loss_of(plan, plan.experiment, counter.stride, scale), scale)


def samples(plan: Plan, seed: int, prepared: Path, maps: Path, stride: int) -> tuple[Samples, Samples]:
    """The training and the validation split, as a counter of `stride` reads them.

    Raises ValueError for a crop that cuts cells, and where images of one batch would differ in size."""
    data, pack, options = Prepared(prepared), Pack(maps), plan.training
    _check_batches(data, options, stride)
    training = Samples(data, pack, "train", stride=stride, crop=options.crop, flip=options.flip, seed=seed)
    return training, Samples(data, pack, "val", stride=stride)


def _check_batches(data: Prepared, options: Training, stride: int) -> None:
    if options.crop and (options.crop[0] % stride or options.crop[1] % stride):
        raise ValueError(f"training.crop: {list(options.crop)} must be multiples of the counter's stride, {stride}")
    sizes = {(row.height, row.width) for row in data.split("train")}
    if options.crop is None and options.batch_size > 1 and len(sizes) > 1:
        raise ValueError(
            f"{data.folder}: training images have {len(sizes)} sizes; set training.crop, or training.batch_size: 1"
        )


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
