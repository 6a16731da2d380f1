"""The counting loss of the paper, equations (3) and (7): ||f(X) - M||^2, summed over the cells of each map."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from components.config.options import Options
from components.crowd import Crop, apply_region_mask
from components.losses.shared.squared_error import squared_error


class Params(Options):
    """1 - cos(f(X), M) of each image depends on the map's shape, not its count; `cosine` is 10 in Wan, Wang,
    Chan (2020), at a target scale of 1. At a scale of 40 the squares are 1600 times as large."""

    cosine: float = Field(0.0, ge=0, description="weight of 1 - cos(f(X), M)")


def build(params: Params, stride: int, scale: float) -> SquaredError:
    return SquaredError(params.cosine)


class SquaredError:
    """Compares with a density map, cell by cell."""

    uses_density_map = True
    title = "squared error"
    channels = 1

    def __init__(self, cosine: float) -> None:
        self.cosine = cosine

    def people(self, outputs: Tensor) -> Tensor:
        return outputs

    def __call__(
        self, outputs: Tensor, maps: Tensor | None, crops: Sequence[Crop], regions: Tensor | None = None
    ) -> Tensor:
        assert maps is not None
        predicted = apply_region_mask(self.people(outputs), regions)
        loss = squared_error(predicted, maps)
        if not self.cosine:
            return loss
        return loss + self.cosine * (1 - functional.cosine_similarity(predicted.flatten(1), maps.flatten(1)))
