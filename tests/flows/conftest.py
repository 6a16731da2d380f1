"""A night that took its pictures, and what the gate says of its candidate, in the current folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.gate.verdict import Verdict
from components.workspace.layout import RETRAIN
from flows import night
from flows.night import Night
from tests.flows.processes import GATE
from tests.inbox.conftest import Yard, label, picture
from tests.runs.test_predictor import saved

FACTS = {"prefect": {"run": "1234", "name": "2026-11-26 retrain"}}


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights file of an untrained counter."""
    return saved(tmp_path_factory.mktemp("run")).best


@pytest.fixture
def tonight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights_file: Path) -> Night:
    """A night that took three pictures; its candidate is an untrained counter."""
    monkeypatch.chdir(tmp_path)
    arrive()
    opened = night.open_night(RETRAIN)
    night.ingest(opened)
    put(opened.paths.folder, opened.paths.candidate.name, weights_file.read_bytes())
    opened.paths.card.write_text("# A counter\n")
    return opened


def arrive() -> None:
    """Three pictures in the inbox of a study, three that are held out, and the settings of a night."""
    yard = Yard()
    for seed in range(3):
        yard.arrive(f"cam1-{seed}", seed)
        put(Path("held-out"), f"{seed}.png", picture(100 + seed))
        put(Path("held-out"), f"{seed}.json", label(2, seed))
    put(Path("params"), "gate.yaml", yaml.safe_dump(GATE | {"leaks": {"required": False}}).encode())
    yard.configure(gate="params/gate.yaml", registry="registry")


def put(folder: Path, name: str, contents: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(contents)


@pytest.fixture
def go(tonight: Night) -> Verdict:
    """The gate's answer about the first candidate."""
    verdict = night.gate(tonight, tonight.paths.candidate)
    assert verdict.outcome == "GO", verdict.reasons()
    return verdict
