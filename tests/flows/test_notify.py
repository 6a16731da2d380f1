"""What people are told of a night, and of a run that failed."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Failed

from flows.notify import ADDRESSES, tell
from flows.retrain import retrain, tell_of_failure
from tests.flows.sink import Sink


def test_events_that_nobody_wants_are_not_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with Sink() as sink:
        monkeypatch.setenv(ADDRESSES, sink.address)
        tell(("deployed",), "failed", "run-1", "failed", "")
        assert sink.got == []


def test_a_night_whose_settings_have_a_mistake_is_told_of_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("night.yaml").write_text("inbox: [")
    run = FlowRun(flow_id=uuid4(), name="2026-11-26 retrain", parameters={"settings": "night.yaml"})
    with Sink() as sink:
        monkeypatch.setenv(ADDRESSES, sink.address)
        tell_of_failure(retrain, run, Failed(message="night.yaml: is not YAML"))
        [told] = sink.got
    assert told["title"] == "night.yaml: retraining failed"
    assert told["message"] == "2026-11-26 retrain: night.yaml: is not YAML"
