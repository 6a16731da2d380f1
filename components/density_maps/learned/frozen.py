"""The maps of a generator that an earlier run trained with another counter, and that no longer learns: table 6.

The paper takes CSRNet's generator, whose maps are at 1/8, for MCNN and FCN, which predict at 1/4, and does not say how.
Ours: the map is made at its own stride, and each cell's people are spread evenly over its finer cells, those of them
that lie in the image: sums are preserved, and no detail is added that the generator did not make."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from components.config.options import Options, check
from components.crowd import Batch, DensityMap, Window, pad_to
from components.density_maps.crops import cut, whole
from components.density_maps.learned import generated
from components.errors import UserError

PREFIX = "density_map."  # of the generator's weights in a run's files


class Params(Options):
    run: str = Field(
        description="what trained the generator: an experiment of the study, of which each seed takes the run with its "
        "own number, or the folder of a finished run, from the project's root on"
    )


def build(params: Params, stride: int, scale: float) -> Frozen:
    return Frozen(params, stride, scale)


class Frozen(DensityMap):
    """The generator of `run`, best on validation. Its maps are made once for each image, and have no second loss.

    Raises UserError where the run is not there, trained no generator, or had a counter of a finer grid. The weights
    stand in this run's files too, but are read from the earlier run's whenever this map is built."""

    def __init__(self, params: Params, stride: int, scale: float) -> None:
        super().__init__(params, stride, scale)
        self.generator = _generator(Path(params.run), stride)
        self.generator.requires_grad_(False)

    def forward(self, batch: Batch, windows: list[Window]) -> Tensor:
        """The maps of a batch at `windows`, (B, 1, h, w), in this run's scale: those of the whole images, cut."""
        pairs = enumerate(zip(windows, batch.sizes, strict=True))
        full = [(self._whole(batch.only(index)), window, size) for index, (window, size) in pairs]
        return torch.stack([cut(maps, window, whole(size, self.stride), self.stride) for maps, window, size in full])

    def _whole(self, one: Batch) -> Tensor:
        """The map of one whole image, (1, h, w)."""
        stride, full = self.generator.stride, whole(one.sizes[0], self.stride)
        factor = stride // self.stride
        shares = [_gathered(each, factor) / _gathered(torch.ones_like(each), factor) for each in one.regions]
        coarse = replace(one, annotations=[_gathered(each, factor) for each in one.annotations], regions=shares)
        maps = self.generator(coarse, [whole(one.sizes[0], stride)])
        maps = spread(maps, factor, (full.height // self.stride, full.width // self.stride))
        return self.scale / self.generator.scale * maps[0]


def spread(maps: Tensor, factor: int, size: tuple[int, int]) -> Tensor:
    """Maps (..., h, w) on a grid that is `factor` times as fine and has `size` cells, the last coarse ones of which
    may reach over it: each cell's people, evenly over its finer cells."""
    inside = _gathered(maps.new_ones(size), factor)
    finer = (maps / inside).repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    return finer[..., : size[0], : size[1]]


def _gathered(maps: Tensor, factor: int) -> Tensor:
    """Sums of (h, w) over blocks of factor x factor: the reverse."""
    return factor**2 * functional.avg_pool2d(pad_to(maps[None, None], factor), factor)[0, 0]


def _generator(run: Path, stride: int) -> generated.Generator:
    plan, record, tensors = _read(run)
    kind = plan["density_map"].pop("kind")
    if kind != "generated":
        raise UserError(f"density_map.run: {run} has maps of kind {kind}; name a run that trained a generator")
    theirs = record.get("stride", "unknown")
    if not isinstance(theirs, int) or theirs % stride:
        raise UserError(
            f"density_map.run: {run} made maps for a counter of stride {theirs}, and this one's is {stride}; "
            f"name a run of a counter of stride {stride} or a multiple of it"
        )
    options = check(generated.Params, plan["density_map"], f"{run}/params.yaml: density_map")
    maps = generated.build(options, theirs, plan["training"]["target_scale"] or 640 / theirs**2)
    maps.load_state_dict({key.removeprefix(PREFIX): each for key, each in tensors.items() if key.startswith(PREFIX)})
    return maps


def _read(run: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """params.yaml, manifest.json and best.safetensors of a run's folder."""
    if not (run / "manifest.json").exists():
        raise UserError(f"density_map.run: {run} holds no finished run; train it first")
    try:
        record = json.loads((run / "manifest.json").read_text())
        return yaml.safe_load((run / "params.yaml").read_text()), record, load_file(run / "best.safetensors")
    except (ValueError, yaml.YAMLError, SafetensorError, FileNotFoundError) as error:
        raise UserError(f"density_map.run: {run} is damaged ({error}); remove it and train it again") from None
