"""The objects that a plan stands for: its model, and its data as that model reads them."""

from __future__ import annotations

from pathlib import Path

import torch

from components.config import plugins
from components.config.resolve import Plan, loss_of
from components.config.study import Training
from components.data.manifest import Prepared
from components.data.packed import Pack
from components.errors import UserError
from components.training.joint import JointModel
from components.training.samples import Samples


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

    Raises UserError for a crop that cuts cells, and where images of one batch would differ in size."""
    data, pack, options = Prepared(prepared), Pack(maps), plan.training
    _check_batches(data, options, stride)
    training = Samples(data, pack, "train", stride=stride, crop=options.crop, flip=options.flip, seed=seed)
    return training, Samples(data, pack, "val", stride=stride)


def _check_batches(data: Prepared, options: Training, stride: int) -> None:
    if options.crop and (options.crop[0] % stride or options.crop[1] % stride):
        raise UserError(f"training.crop: {list(options.crop)} must be multiples of the counter's stride, {stride}")
    sizes = {(row.height, row.width) for row in data.split("train")}
    if options.crop is None and options.batch_size > 1 and len(sizes) > 1:
        raise UserError(
            f"{data.folder}: training images have {len(sizes)} sizes; set training.crop, or training.batch_size: 1"
        )
