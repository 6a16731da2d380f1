"""Numbers out of files that come from strangers: dots (N, 2), or a UserError that says what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat, whosmat

from components.data.decode import refuse_special
from components.datasets.shared.mat_check import check_mat
from components.errors import UserError

OTHER_STRUCTURE = (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError)
"""What numpy raises where MATLAB's nested records are not nested as expected: catch it around their reading alone."""


def as_dots(values: Any, what: str) -> np.ndarray:
    """Dots (N, 2) float64 of anything that looks like a table; an empty table is no dots.

    Raises UserError: not numbers, rows of unequal length, or not two columns."""
    try:
        table = np.asarray(values)
        if np.iscomplexobj(table):
            raise TypeError("complex numbers")
        dots = table.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{what} is not a table of numbers") from None
    if dots.size and (dots.ndim != 2 or dots.shape[1] != 2):
        raise UserError(f"{what} has shape {dots.shape}, not (N, 2)")
    return dots.reshape(-1, 2)


def as_number(values: np.ndarray, what: str) -> int:
    """The one number of a table of one cell. Raises UserError: not one cell, or not a number."""
    try:
        return int(values.item())
    except OTHER_STRUCTURE:
        raise UserError(f"{what} is not one number") from None


def load_mat(path: Path, *names: str) -> dict[str, np.ndarray]:
    """Variables of a MATLAB file, by name.

    Raises UserError: a damaged file, what `check_mat` refuses, a variable that is missing or is no dense array."""
    try:
        check_mat(path, names)
        found: dict[str, Any] = loadmat(path, variable_names=names)
    except UserError:
        raise
    except Exception as error:  # a damaged file fails in scipy with errors of any type
        raise UserError(f"not a readable .mat ({type(error).__name__})") from None
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError(f"has no variable {' and no '.join(missing)}")
    sparse = [name for name in names if not isinstance(found[name], np.ndarray)]
    if sparse:
        raise UserError(f"{' and '.join(sparse)} must be a full array: save it in MATLAB with `full(...)`")
    return {name: found[name] for name in names}


def variables(path: Path) -> set[str]:
    """The names of the variables of a MATLAB file; none where `load_mat` will say what is wrong with it."""
    try:
        refuse_special(path)
        return {name for name, *_ in whosmat(path)}
    except Exception:  # a damaged file fails in scipy with errors of any type
        return set()


def mat_dots(path: Path, name: str) -> np.ndarray:
    """Dots (N, 2) float64 of one variable of a MATLAB file. Raises UserError."""
    return as_dots(load_mat(path, name)[name], name)
