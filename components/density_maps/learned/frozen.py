"""The maps of a generator that an earlier run trained with another counter, and that no longer learns: table 6.

The paper takes CSRNet's generator, whose maps are at 1/8, for MCNN and FCN, which predict at 1/4, and does not say how.
Here the map is made at its own stride, and the people of each cell are spread evenly over the finer cells of it that
lie in the image: sums are preserved, and no detail is added that the generator did not make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from components.config.options import Options, check
from components.crowd import Crop, DensityMap, block_sums
from components.density_maps.crops import cut, full_window
from components.density_maps.learned import generated
from components.errors import UserError
from components.runs.folder import read_weights
from components.workspace.layout import RunPaths


class Params(Options):
    run: Path = Field(
        description="the run that trained the generator: an experiment of the study, of which each seed takes the run "
        "with the same seed, or the folder of a finished run, relative to the project's root"
    )


def build(params: Params, stride: int, scale: float) -> Frozen:
    return Frozen(params, stride, scale)


class Frozen(DensityMap):
    """The generator of `run`, with its best weights on validation. It has no second loss.

    Raises UserError if there is no such run, if it trained no generator, or if its counter had a stride that is no
    multiple of this one's. The weights are always read from the earlier run, although they are in this run's files
    too."""

    def __init__(self, params: Params, stride: int, scale: float) -> None:
        super().__init__(params, stride, scale)
        self.generator = _read_generator(params.run, stride)
        self.generator.requires_grad_(False)

    def forward(self, crops: Sequence[Crop]) -> Tensor:
        """The maps of crops, (B, 1, h, w) people per cell times this run's `scale`: those of whole images, cut."""
        maps = [
            cut(self._full_map(crop), crop.window, full_window(crop.size, self.stride), self.stride) for crop in crops
        ]
        return torch.stack(maps)

    def _full_map(self, crop: Crop) -> Tensor:
        """The map of one whole image, (1, h, w)."""
        coarse_stride, window = self.generator.stride, full_window(crop.size, self.stride)
        factor = coarse_stride // self.stride
        region = crop.region
        if region is not None:
            region = _coarser(region, factor) / _coarser(torch.ones_like(region), factor)
        annotation = _coarser(crop.annotation, factor)
        coarse = replace(crop, window=full_window(crop.size, coarse_stride), annotation=annotation, region=region)
        maps = spread(self.generator([coarse]), factor, (window.height // self.stride, window.width // self.stride))
        return self.scale / self.generator.scale * maps[0]


def spread(maps: Tensor, factor: int, size: tuple[int, int]) -> Tensor:
    """Spread the people of each cell of maps (..., h, w) evenly over its finer cells, `factor` x `factor` of them.

    The result has `size` cells: finer cells beyond that, of the last coarse ones, lie outside the image and get
    nothing."""
    counts = _coarser(maps.new_ones(size), factor)
    finer = (maps / counts).repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    return finer[..., : size[0], : size[1]]


def _coarser(full_map: Tensor, factor: int) -> Tensor:
    """A map (h, w) on a grid of cells that are `factor` times as wide and as high."""
    return block_sums(full_map[None, None], factor)[0, 0]


def _read_generator(run: Path, stride: int) -> generated.Generator:
    file = RunPaths(run).best
    if not file.exists():
        raise UserError(f"density_map.run: {run} holds no finished run; train it first")
    try:
        weights = read_weights(file)
    except UserError as error:
        raise UserError(f"density_map.run: {error}") from None
    trained_stride, options = weights.metadata["stride"], dict(weights.metadata["density_map"])
    if (kind := options.pop("kind")) != "generated":
        raise UserError(f"density_map.run: {run} has maps of kind {kind}; name a run that trained a generator")
    if trained_stride % stride:
        raise UserError(
            f"density_map.run: {run} made maps for a counter of stride {trained_stride}, and this one's is {stride}; "
            f"name a run of a counter of stride {stride} or a multiple of it"
        )
    params = check(generated.Params, options, f"density_map.run: {file}: density_map")
    generator = generated.build(params, trained_stride, weights.metadata["scale"])
    generator.load_state_dict(weights.of("density_map"))
    return generator
