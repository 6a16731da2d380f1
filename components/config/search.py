"""The schema of one search over an experiment's options: what is varied, and how long each trial trains."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field, model_validator

from components.config.options import Name, Options, Seed
from components.errors import UserError

SEARCHABLE = ("counter", "density_map", "loss", "training")  # what keys of a search space begin with
SET_BY_SEARCH = {"training.epochs", "training.validate_every", "training.workers"}


class Dimension(Options):
    """One dimension of a search space: exactly one of the three."""

    loguniform: tuple[float, float] | None = Field(None, description="[low, high], even over the logarithm")
    uniform: tuple[float, float] | None = Field(None, description="[low, high]")
    choice: tuple[Any, ...] | None = Field(None, min_length=1, description="a list of values")

    @model_validator(mode="after")
    def _check_range(self) -> Dimension:
        if sum(value is not None for value in (self.loguniform, self.uniform, self.choice)) != 1:
            raise UserError("give exactly one of loguniform: [low, high], uniform: [low, high], choice: [...]")
        low, high = self.loguniform or self.uniform or (1, 2)
        if not low < high or (self.loguniform and low <= 0):
            raise UserError("a range is [low, high] with low < high, and low > 0 where it is loguniform")
        return self

    def examples(self) -> tuple[Any, ...]:
        """Values that may be drawn: both ends and one between, or every choice."""
        low, high = self.loguniform or self.uniform or (0, 0)
        return self.choice or (low, high, low + (high - low) / math.pi)


class Search(Options):
    """A search over dotted keys of one experiment, such as `density_map.beta` or `counter.optimiser.lr`."""

    experiment: Name = Field(description="an entry of `experiments`")
    trials: int = Field(20, ge=1, description="how many sets of values are tried")
    epochs: int = Field(10, ge=1, description="of a trial that is not stopped")
    grace_epochs: int = Field(1, ge=1, description="ASHA stops no trial before this many epochs")
    concurrent: int = Field(1, ge=1, description="trials at a time")
    seed: Seed = Field(0, description="draws the values, and the run of each trial")
    space: dict[str, Dimension] = Field(min_length=1, description="what is varied, by dotted keys of the experiment")

    @model_validator(mode="after")
    def _check_space(self) -> Search:
        if self.grace_epochs > self.epochs:
            raise UserError(f"grace_epochs ({self.grace_epochs}) must not be more than epochs ({self.epochs})")
        for key in self.space:
            if key in SET_BY_SEARCH:
                raise UserError(f"space: {key} is set by the search itself: see its `epochs` and `concurrent`")
            if key.split(".")[0] not in SEARCHABLE:
                raise UserError(f"space: {key} cannot be searched; keys begin with {', '.join(SEARCHABLE)}")
        return self
