"""Numbers that the environment sets: how work is done, never what comes of it, so they make nothing stale."""

from __future__ import annotations

import math
import os

from components.errors import UserError


def positive_number(name: str, default: float, unit: str) -> float:
    """The number of this name in the environment. Raises UserError for what is not a number above 0."""
    text = os.environ.get(name, str(default))
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise UserError(f"{name}={text}: must be a number of {unit} above 0")
    return number
