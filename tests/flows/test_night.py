"""The steps of a night without Prefect: decisions are made once, whatever fails around them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from s3fs import S3FileSystem

from components.errors import UserError
from components.gate.verdict import Verdict
from components.inbox.ingest import Ingested
from components.publish.history import write_page
from components.runs.folder import read_weights, write_weights
from components.workspace.atomic import write_lines
from components.workspace.layout import RETRAIN, STATE, Layout
from flows import night
from flows.night import Night
from flows.notify import ADDRESSES, tell
from flows.retrain import retrain
from tests.faulty_s3 import Proxy, proxy
from tests.flows.conftest import FACTS, put
from tests.flows.sink import Sink


def test_a_night_without_a_picture_is_done_before_it_begins(tonight: Night) -> None:
    assert not night.is_done(tonight)
    shutil.rmtree(tonight.raw.root)
    assert night.is_done(tonight)


def test_where_nothing_can_be_pushed_or_committed_is_said_before_anything_is_done(tonight: Night) -> None:
    settings = yaml.safe_load(RETRAIN.read_text())
    for words in (("init", "-q", "-b", "nightly"), ("commit", "-q", "--allow-empty", "-m", "start")):
        subprocess.run(["git", "-c", "user.name=test", "-c", "user.email=test@example.org", *words], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    for part, said in (
        ({"push": True}, "params/retrain.yaml: push: DVC has no remote: set one with `dotfield remote ADDRESS`"),
        ({"branch": "nightly"}, "branch: nightly is checked out here"),
    ):
        RETRAIN.write_text(yaml.safe_dump(settings | part))
        with pytest.raises(UserError, match=f"^{said}"):
            night.open_night(RETRAIN)


def test_a_changed_experiment_is_a_new_question_and_a_new_title_is_none(tonight: Night) -> None:
    night.finish(tonight)
    file = tonight.layout.params
    study = yaml.safe_load(file.read_text())
    study["experiments"]["fixed"]["title"] = "Another title"
    study["experiments"]["other"] = study["experiments"]["fixed"] | {"title": "Beside it"}
    file.write_text(yaml.safe_dump(study))
    assert night.is_done(tonight)
    for part in (
        {"experiments": study["experiments"] | {"fixed": study["experiments"]["fixed"] | {"training": {"epochs": 7}}}},
        {"maps": {"near": {"dataset": "yard", "kernel": {"kind": "fixed", "sigma": 5}}}},
        {"datasets": {"yard": study["datasets"]["yard"] | {"longest_side": 48}}},
    ):
        file.write_text(yaml.safe_dump(study | part))
        assert not night.is_done(tonight)


def test_a_night_is_done_until_pictures_or_questions_change(tonight: Night) -> None:
    night.finish(tonight)
    assert night.is_done(tonight)
    for file, words in (
        (tonight.settings.gate, b"costs: {latency: 3}\n"),
        (tonight.raw.accepted, b"\n"),
        (RETRAIN, b"tolerance: {lost: 0.5}\n"),
    ):
        before = file.read_bytes()
        file.write_bytes(before + words)
        assert not night.is_done(night.open_night(RETRAIN))
        file.write_bytes(before + b"\n" * (file != tonight.raw.accepted))
        assert night.is_done(night.open_night(RETRAIN)), "words that ask nothing else"
    file = RETRAIN.read_text()
    RETRAIN.write_text(file.replace("registry: registry", "registry: another"))
    assert not night.is_done(night.open_night(RETRAIN)), "another registry was never asked"
    RETRAIN.write_text(file)
    tonight.paths.night.write_text('{"do')
    assert not night.is_done(tonight), "a torn file is none"


def files() -> dict[Path, bytes]:
    """All that there is, but for what one night keeps others away with."""
    found = (path for path in Path().rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path: path.read_bytes() for path in found}


def test_a_second_night_at_the_same_time_says_so_and_changes_nothing(tonight: Night) -> None:
    """Of the same study, and of another one that learns from the same pictures."""
    study = yaml.safe_load(tonight.layout.params.read_text()) | {"study": "other"}
    put(Path("params/other"), "study.yaml", yaml.safe_dump(study).encode())
    other = yaml.safe_load(RETRAIN.read_text()) | {"study": "other"}
    put(Path("params"), "other.yaml", yaml.safe_dump(other).encode())
    before = files()
    with night.lock(tonight):
        for settings in (RETRAIN, Path("params/other.yaml")):
            state = retrain.fn(str(settings))
            assert state.is_failed()
            assert re.fullmatch("another process works on this .* is held.; end it, or wait", state.message)
    assert files() == before


def test_what_the_machine_refuses_is_one_line(tonight: Night) -> None:
    shutil.rmtree(STATE)
    STATE.touch()
    state = retrain.fn(str(RETRAIN))
    assert state.is_failed()
    assert state.message == "[Errno 20] Not a directory: '.dotfield/locks': name another file or folder"


def test_what_the_gate_lets_pass_is_deployed_once(tonight: Night, go: Verdict) -> None:
    """As after a kill between the decision and what follows it: it is found again, and nothing is decided twice."""
    assert night.decided(tonight) is None
    entry = night.deploy(tonight, go, FACTS, tonight.paths.candidate)
    used = tonight.registry.current()
    assert used is not None
    assert (entry.decision["before"], entry.decision["candidate"]) == (None, used.counter)
    assert night.decided(tonight) == entry
    assert night.deploy(tonight, go, FACTS, tonight.paths.candidate).number == entry.number
    assert len(tonight.registry.history()) == 1


def test_what_is_no_better_leaves_the_counter_in_use(tonight: Night, go: Verdict) -> None:
    """The same counter once more is not better than itself."""
    night.deploy(tonight, go, FACTS, tonight.paths.candidate)
    used = tonight.registry.current()
    with tonight.raw.accepted.open("a") as manifest:  # another night's pictures
        manifest.write("\n")
    again = night.gate(tonight, tonight.paths.candidate)
    entry = night.deploy(tonight, again, FACTS, tonight.paths.candidate)
    assert (entry.action, entry.decision["outcome"]) == ("record", "NO-GO")
    assert "mae:better" in entry.decision["reason"]
    assert night.deploy(tonight, again, FACTS, tonight.paths.candidate) == entry, "tried again after it was done"
    assert tonight.registry.current() == used


def test_a_night_with_nothing_new_is_recorded_once(tonight: Night) -> None:
    for facts in (FACTS, FACTS, {"prefect": FACTS["prefect"] | {"run": "5678"}}, FACTS):
        assert night.record_nothing_new(tonight, Ingested(), facts) == "0 objects wait"
    assert [entry.decision["prefect"]["run"] for entry in tonight.registry.history()] == ["1234", "5678"]
    assert "Nights with nothing new: 2." in tonight.layout.preview.history.read_text()


def test_a_candidate_that_was_compared_with_another_counter_is_not_deployed(tonight: Night, go: Verdict) -> None:
    other = changed(tonight.paths.candidate, lambda each: each + 1)
    by_hand = tonight.registry.add(other, "")
    tonight.registry.deploy(by_hand, {"reason": "by hand"}, None)
    with pytest.raises(UserError, match="somebody else was faster"):
        night.deploy(tonight, go, FACTS, tonight.paths.candidate)
    assert tonight.registry.current().counter == by_hand


def test_weights_that_are_not_a_number_are_no_candidate(tonight: Night) -> None:
    """The gate's sanity check finds them; and if it did not, the registry would."""
    file = changed(tonight.paths.candidate, lambda each: each * np.nan)
    verdict = night.gate(tonight, file)
    assert verdict.outcome == "NO-GO"
    with pytest.raises(UserError, match="NaN or infinite"):
        night.deploy(tonight, replace(verdict, outcome="GO"), FACTS, file)
    assert night.deploy(tonight, verdict, FACTS, file).action == "record"
    assert tonight.registry.current() is None


def changed(file: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    """A weights file whose counter has other numbers."""
    weights, other = read_weights(file), file.with_name("other.safetensors")
    tensors = {name: change(each) if name.startswith("counter.") else each for name, each in weights.tensors.items()}
    write_weights(other, tensors, weights.metadata)
    return other


def test_each_address_is_told_once(tonight: Night, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    entry = night.refuse(tonight, "worse by 2", FACTS)
    with Sink() as first, Sink() as second:
        monkeypatch.setenv(ADDRESSES, f"{first.address} json://127.0.0.1:9/secret-token {second.address}")
        for _ in range(2):
            with pytest.raises(UserError, match="1 of 3 addresses could not be told of 'no-go'") as error:
                night.notify(tonight, entry)
            assert "secret-token" not in str(error.value)
        monkeypatch.setenv(ADDRESSES, f"{first.address} {second.address}")
        night.notify(tonight, entry)
        assert [[(each["title"], each["message"]) for each in sink.got] for sink in (first, second)] == [
            [("yard: NO-GO", "worse by 2")]
        ] * 2
        tell(tonight.settings.notify, "failed", "run-1", "yard: failed", "no disk")
        tell(tonight.settings.notify, "failed", "run-2", "yard: failed", "no disk")
        assert len(first.got) == 3, "two nights that failed are two"


@pytest.fixture
def faulty(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    S3FileSystem.clear_instance_cache()  # those that know another address
    with proxy(s3.meta.endpoint_url) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        yield server
    S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("status", [pytest.param(503, marks=pytest.mark.slow), 403])  # of 503, s3fs tries often
def test_where_s3_refuses_to_deploy_the_next_night_does(
    status: int, tonight: Night, go: Verdict, faulty: Proxy
) -> None:
    settings = tonight.settings.model_copy(update={"registry": f"s3://crowds/{status}"})
    first = Night(settings, tonight.raw, tonight.paths)
    faulty.fault = lambda method, path: status if method == "PUT" and "/ledger/" in path else 0
    with pytest.raises(UserError, match=f"s3://crowds/{status}"):
        night.deploy(first, go, FACTS, tonight.paths.candidate)
    assert faulty.faults
    assert first.registry.current() is None
    faulty.fault = lambda method, path: 0
    second = Night(settings, tonight.raw, tonight.paths)
    assert night.decided(second) is None
    night.deploy(second, go, FACTS, tonight.paths.candidate)
    assert second.registry.current().counter == go.candidate
    assert len(second.registry.history()) == 1


def test_the_page_names_every_run_and_version(tonight: Night, go: Verdict) -> None:
    data = {"data": {"version": "abcdef0123456789.dir", "images": 3, "new": 3}, "ray": "fingerprint-1"}
    night.deploy(tonight, go, FACTS | data, tonight.paths.candidate)
    night.refuse(tonight, "the data: <many> refused", FACTS)
    page = Layout("yard").preview.history
    write_page(tonight.registry.history(), tonight.registry.address, page)
    text = page.read_text()
    mae = "{:.2f} [{:.2f}, {:.2f}]".format(go.metrics["mae"], *go.metrics["mae_bounds"])
    for said in ("&lt;many&gt;", "abcdef012345: 3 images, 3 new", "Ray fingerprint-1", "2026-11-26 retrain 1234", mae):
        assert said in text
    assert text.index("NO-GO") < text.index("every check that counts passed"), "the newest first"


def test_before_anything_was_trained_there_is_a_page_too(tonight: Night) -> None:
    """A first night that its data stopped."""
    ingested = Ingested(undecided={f"odd-{number}.png": "is no image" for number in range(10)})
    checked = night.check(tonight, ingested)
    assert [each.id for each in checked.failed] == ["refused"]
    night.refuse(tonight, checked.failed[0].words, FACTS)
    night.publish(tonight, print)
    assert "10 of 10 new objects were refused" in tonight.layout.preview.history.read_text()
    assert tonight.layout.preview.report.exists()


def test_a_version_is_what_the_next_pictures_are_compared_with_once_it_is_decided_on(tonight: Night) -> None:
    checked = night.check(tonight, Ingested())
    assert checked.new == 3
    write_lines(tonight.paths.new_version, checked.images)  # as `version` does, and then the night is killed
    assert night.check(tonight, Ingested()).new == 3
    write_lines(tonight.paths.new_version, checked.images)
    night.finish(tonight)
    assert night.check(tonight, Ingested()).new == 0
