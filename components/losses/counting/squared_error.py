"""The counting loss of the paper, equations (3) and (7): ||f(X) - M||^2, summed over the cells of each map."""

from __future__ import annotations

from torch import Tensor

from components.crowd import Batch
from components.losses.squared_error import squared_error
from components.params import Options


class Params(Options):
    pass


def build(params: Params, stride: int, scale: float) -> SquaredError:
    return SquaredError()


class SquaredError:
    """Compares with a density map, cell by cell."""

    drawn = True
    title = "squared error"

    def __call__(self, predicted: Tensor, maps: Tensor | None, batch: Batch) -> Tensor:
        assert maps is not None
        return squared_error(predicted, maps)
