"""The counting loss of the paper, equations (3) and (7): ||f(X) - M||^2, summed over the cells of each map."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from components.config.options import Options
from components.crowd import Batch
from components.losses.shared.squared_error import squared_error


class Params(Options):
    """`cosine` adds so many times 1 - cos(f(X), M) for each image, which sees the map's shape and not its count: Wan,
    Wang, Chan (2020) have 10, at a target scale of 1. At a scale of 40 the squares weigh 1600 times as much."""

    cosine: float = Field(0.0, ge=0)


def build(params: Params, stride: int, scale: float) -> SquaredError:
    return SquaredError(params.cosine)


class SquaredError:
    """Compares with a density map, cell by cell."""

    drawn = True
    title = "squared error"

    def __init__(self, cosine: float) -> None:
        self.cosine = cosine

    def __call__(self, predicted: Tensor, maps: Tensor | None, batch: Batch) -> Tensor:
        assert maps is not None
        loss = squared_error(predicted, maps)
        if not self.cosine:
            return loss
        return loss + self.cosine * (1 - functional.cosine_similarity(predicted.flatten(1), maps.flatten(1)))
