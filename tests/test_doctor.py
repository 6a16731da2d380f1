"""The doctor finds what was broken on purpose, and says how to fix it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from components import doctor


@pytest.fixture
def dead_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_each_check_has_an_id_of_its_own_and_each_fault_a_remedy(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    findings = list(doctor.examine())
    assert len({finding.id for finding in findings}) == len(doctor.CHECKS)
    assert all(finding.remedy for finding in findings if finding.state != "ok")


def test_a_cluster_that_is_gone(monkeypatch, dead_port: int) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{dead_port}")
    assert doctor.ray().state == "error"
    with socket.create_server(("127.0.0.1", dead_port)):
        assert doctor.ray().state == "ok"


def test_a_prefect_server_that_is_gone(monkeypatch, dead_port: int) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{dead_port}/api")
    assert doctor.prefect().state == "error"
    monkeypatch.setenv("PREFECT_API_URL", "no address")
    assert doctor.prefect().state == "error"


def test_results_without_a_remote(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctor.dvc().state == "error"
    (tmp_path / ".dvc").mkdir()
    assert doctor.dvc().state == "warning"
    (tmp_path / ".dvc/config").write_text("['remote \"store\"']\n    url = s3://crowds/dvc\n")
    assert doctor.dvc() == doctor.Finding("dvc", "ok", doctor.dvc().what)
    assert "s3://crowds/dvc" in doctor.dvc().what


def test_storage_is_tried(monkeypatch, tmp_path: Path, s3) -> None:
    (tmp_path / "file").touch()
    for address, state in {
        str(tmp_path / "kept"): "ok",
        str(tmp_path / "file"): "error",
        "s3://crowds/state": "ok",
        "s3://nowhere/state/deep": "error",
    }.items():
        monkeypatch.setenv("DOTFIELD_STORAGE", address)
        assert doctor.state_storage().state == state, address
    assert not list((tmp_path / "kept").iterdir())


def test_packages_out_of_their_range(monkeypatch) -> None:
    assert doctor.packages().state == "ok"
    required = ["numpy<1", "no-such-package>=1", "torch>=2", "not-installed; extra == 'dev'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: required)
    found = doctor.packages()
    assert found.state == "error"
    assert found.what.startswith("numpy ")
    assert found.what.endswith(" is not <1; no-such-package is missing")


def test_a_machine_without_git_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (doctor.git().state, doctor.git().remedy) == ("error", "apt install git")
    assert doctor.clock().state == "ok"


def test_programs_read_json_and_the_exit_code(monkeypatch, typed, dead_port: int) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{dead_port}")
    code, out, _ = typed("doctor", "--json")
    findings = {finding["id"]: finding for finding in json.loads(out)["findings"]}
    assert code == 1
    assert findings["ray"]["state"] == "error"
    assert findings["ray"]["remedy"] == "start the cluster, or unset it"
