"""What tests of the registry share."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.runs.test_predictor import saved


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights file of an untrained counter."""
    return saved(tmp_path_factory.mktemp("run")).best


@pytest.fixture(params=["folder", "s3://"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A registry that does not exist yet; the working directory is a folder of its own."""
    monkeypatch.chdir(tmp_path)
    if request.param == "s3://":
        request.getfixturevalue("s3")
        return f"s3://crowds/{uuid.uuid4().hex}"
    return str(tmp_path / "the registry")
