"""Grid average mean absolute error: Guerrero-Gomez-Olmo et al., "Extremely overlapping vehicle counting", IbPRIA 2015.

GAME(L) cuts an image into 4^L regions and adds up the absolute errors of their counts; GAME(0) is MAE."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from components.evaluation.scores import Scores

POSITION, DIGITS = 4, 1
DESCRIPTION = "GAME(L) in people per image, over 4^L regions of it; GAME(0) is MAE"


def grid_average_error(scores: Scores, level: int) -> np.ndarray:
    """(S,): the scores' errors are already summed over the regions of each level."""
    error: np.ndarray = scores.game[..., level].mean(axis=-1)
    return error


METRICS = {f"GAME({level})": partial(grid_average_error, level=level) for level in (1, 2, 3)}
