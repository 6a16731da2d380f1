"""What losses share that compare people per cell with the dots of each crop by itself, without a density map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from components.config.options import Options
from components.crowd import Crop, apply_region_mask

P = TypeVar("P", bound=Options)


class DotsLoss(ABC, Generic[P]):
    """A loss that reads one channel, of which `people` makes people per cell, times the target scale."""

    title: ClassVar[str]
    uses_density_map = False
    channels = 1

    def __init__(self, params: P, stride: int, scale: float) -> None:
        self.params, self.stride, self.scale = params, stride, scale

    def people(self, outputs: Tensor) -> Tensor:
        return outputs

    def __call__(
        self, outputs: Tensor, maps: Tensor | None, crops: Sequence[Crop], regions: Tensor | None = None
    ) -> Tensor:
        people = apply_region_mask(self.people(outputs), regions)[:, 0] / self.scale
        return torch.stack([self.crop_loss(each, crop) for each, crop in zip(people, crops, strict=True)])

    @abstractmethod
    def crop_loss(self, people: Tensor, crop: Crop) -> Tensor:
        """The loss of one crop, a number, from its people per cell (h, w)."""
