"""The maps of a generator that an earlier run trained with another counter, and that no longer learns: table 6."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from components.crowd import Batch, DensityMap, Window
from components.density_maps.learned import generated
from components.params import Options, check

PREFIX = "density_map."  # of the generator's weights in a run's files


class Params(Options):
    run: str = Field(description="folder of a finished run that trained a generator, from the project's root on")


def build(params: Params, stride: int, scale: float) -> Frozen:
    return Frozen(params, stride, scale)


class Frozen(DensityMap):
    """The generator of `run`, best on validation. Its maps are made once for each image, and have no second loss.

    Raises ValueError where the run is not there, trained no generator, or had a counter of another stride. The weights
    stand in this run's files too, but are read from the earlier run's whenever this map is built."""

    def __init__(self, params: Params, stride: int, scale: float) -> None:
        super().__init__(params, stride, scale)
        self.generator = _generator(Path(params.run), stride)
        self.generator.requires_grad_(False)

    def forward(self, batch: Batch, windows: list[Window]) -> Tensor:
        """The maps of a batch at `windows`, (B, 1, h, w): in this run's scale."""
        return self.scale / self.generator.scale * self.generator(batch, windows)


def _generator(run: Path, stride: int) -> generated.Generator:
    plan, record, tensors = _read(run)
    kind = plan["density_map"].pop("kind")
    if kind != "generated":
        raise ValueError(f"density_map.run: {run} has maps of kind {kind}; name a run that trained a generator")
    theirs = record.get("stride", "unknown")
    if theirs != stride:
        raise ValueError(
            f"density_map.run: {run} made maps for a counter of stride {theirs}, and this one's is {stride}; "
            f"name a run of a counter of stride {stride}"
        )
    options = check(generated.Params, plan["density_map"], f"{run}/params.yaml: density_map")
    maps = generated.build(options, stride, plan["training"]["target_scale"] or 640 / stride**2)
    maps.load_state_dict({key.removeprefix(PREFIX): each for key, each in tensors.items() if key.startswith(PREFIX)})
    return maps


def _read(run: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """params.yaml, manifest.json and best.safetensors of a run's folder."""
    if not (run / "manifest.json").exists():
        raise ValueError(f"density_map.run: {run} holds no finished run; train it first")
    try:
        record = json.loads((run / "manifest.json").read_text())
        return yaml.safe_load((run / "params.yaml").read_text()), record, load_file(run / "best.safetensors")
    except (ValueError, yaml.YAMLError, SafetensorError, FileNotFoundError) as error:
        raise ValueError(f"density_map.run: {run} is damaged ({error}); remove it and train it again") from None
