"""The objects that a plan stands for: its model, and its data as that model reads them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from components.config import plugins
from components.config.resolve import Plan, build_loss, read_plan
from components.config.study import Training
from components.data.manifest import Prepared, Row
from components.data.packed import Pack
from components.errors import UserError
from components.runs.folder import read_record, read_weights
from components.training.joint import JointModel
from components.training.samples import Samples
from components.workspace.layout import RunPaths

log = logging.getLogger(__name__)


class TrainingData(NamedTuple):
    """Prepared images and their annotation maps, by the same numbers; opened once, read by memory-mapping."""

    prepared: Prepared
    maps: Pack
    prepared_folder: Path
    maps_folder: Path


@dataclass(frozen=True)
class Run:
    """A trained run: its plan, its record (run.json), and its model, ready to predict."""

    plan: Plan
    record: dict[str, Any]
    model: JointModel


def open_data(prepared: Path, maps: Path) -> TrainingData:
    """Raises UserError where a folder is not whole."""
    return TrainingData(Prepared(prepared), Pack(maps), prepared, maps)


def assemble(plan: Plan, seed: int) -> JointModel:
    """The model, started from `seed`: one seed starts the same counter whatever the density map is."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        channels = build_loss(plan.loss).channels
        counter = plugins.build("counter", plan.counter.name, plan.counter.options, channels=channels)
        counter = counter.to(memory_format=torch.channels_last)
        scale = plan.training.target_scale or 640 / counter.stride**2  # x 40 at stride 4, x 10 at stride 8
        torch.manual_seed(seed + 1)
        maps = plugins.build(
            "density map", plan.density_map.name, plan.density_map.options, stride=counter.stride, scale=scale
        )
        maps.attach(counter)
    maps = maps.to(memory_format=torch.channels_last)
    return JointModel(counter, maps, build_loss(plan.loss, counter.stride, scale), scale)


def load_start(model: JointModel) -> str:
    """Load the weights that the counter's options name, before training; a few words on what training starts from.

    Where `counter.weights` is a run's folder or a weights file of dotfield, these are all weights of its counter; else
    what the kind of counter makes of them. Raises UserError where they cannot be had, or are of another counter."""
    path = getattr(model.counter.params, "weights", None)
    if not isinstance(path, Path) or not (path.is_dir() or path.suffix == RunPaths(path).best.suffix):
        return model.counter.load_pretrained()
    weights = read_weights(RunPaths(path).best if path.is_dir() else path)
    run, where = weights.metadata, f"counter.weights: {weights.file}"
    try:
        model.counter.load_state_dict(weights.of("counter"))
    except RuntimeError:
        written = run["counter"]
        raise UserError(f"{where}: holds another counter, {written}; choose the same kind and options") from None
    if run["scale"] != model.scale:
        raise UserError(f"{where}: was trained with target scale {run['scale']:g}; set training.target_scale to it")
    return f"{run['study']}/{run['experiment']}, seed {run['seed']}"


def samples(plan: Plan, seed: int, data: TrainingData, stride: int) -> tuple[Samples, Samples]:
    """The training and the validation split, as a counter of `stride` reads them.

    Raises UserError for a crop that cuts cells, and where images of one batch would differ in size."""
    options = plan.training
    _check_batches(data.prepared, options, stride)
    training = Samples(
        data.prepared,
        data.maps,
        "train",
        stride=stride,
        crop=options.crop,
        flip=options.flip,
        seed=seed,
        augmentation=options.augmentation,
        kernel=plugins.build("drawn map", plan.annotation.name, plan.annotation.options),
    )
    return training, Samples(data.prepared, data.maps, "val", stride=stride)


def load_run(paths: RunPaths) -> Run:
    """A run with the best weights of its joint model. Raises UserError where no run ended, or it is damaged."""
    weights = read_weights(paths.best)
    record = read_record(paths)
    if record is None:
        raise UserError(f"{paths.folder}: holds no finished run; train it first")
    keys = ("study", "experiment", "dataset", "preset", "counter", "annotation", "density_map", "loss", "training")
    plan = read_plan({key: weights.metadata[key] for key in keys}, str(paths.best))
    model = assemble(plan, seed=0)
    model.load_state_dict(weights.tensors)
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    return Run(plan, record, model)


def check_crop(options: Training, stride: int) -> None:
    """Raises UserError for a crop that cuts cells, and where there is none though augmentation resizes images."""
    if options.crop and (options.crop[0] % stride or options.crop[1] % stride):
        raise UserError(f"training.crop: {list(options.crop)} must be multiples of the counter's stride, {stride}")
    if options.crop is None and options.batch_size > 1 and options.augmentation.resizes:
        raise UserError(
            "training.augmentation.scale: makes images of many sizes; set training.crop, or training.batch_size: 1"
        )


def _check_batches(data: Prepared, options: Training, stride: int) -> None:
    check_crop(options, stride)
    rows = data.split("train")
    sizes = {(row.height, row.width) for row in rows}
    if options.crop is None and options.batch_size > 1 and len(sizes) > 1:
        raise UserError(
            f"{data.folder}: training images have {len(sizes)} sizes; set training.crop, or training.batch_size: 1"
        )
    if options.crop and options.augmentation.resizes:
        _check_scale(rows, options.crop, options.augmentation.scale[0])


def _check_scale(rows: Sequence[Row], crop: tuple[int, int], smallest: float) -> None:
    """Log how many images may become smaller than the crop: they are padded. Raises UserError where all may."""
    covers = {row.id: max(crop[0] / row.height, crop[1] / row.width) for row in rows}  # the scale at which it just does
    small = [name for name, scale in covers.items() if scale > smallest]
    makes = f"training.augmentation.scale: {smallest:g} makes"
    if len(small) == len(rows):
        raise UserError(
            f"{makes} every image smaller than training.crop, {list(crop)}; raise the scale to "
            f"{min(covers.values()):.3g}, or lower the crop"
        )
    if small:
        worst = max(small, key=lambda name: covers[name])
        log.warning(
            "%s %d of %d images smaller than training.crop: they are padded (the smallest: %s)",
            makes,
            len(small),
            len(rows),
            worst,
        )
