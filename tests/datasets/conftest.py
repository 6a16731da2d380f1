"""What tests of data sets share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.own_data import pictures
from tests.raw.tools import RAW


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a tree of `tests/raw`, in which a test may change files."""
    return lambda kind: Path(shutil.copytree(RAW / kind, tmp_path / kind))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two images."""
    return pictures(tmp_path)
