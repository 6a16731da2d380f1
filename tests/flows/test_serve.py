"""`python -m flows.serve`: a server, a worker and the deployments of prefect.yaml, from a run's start to its end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import pytest
import yaml

from components.errors import UserError
from components.workspace.layout import RETRAIN, SERVER_AUTH, Layout
from flows import serve
from tests import stand_in
from tests.conftest import ROOT
from tests.flows.processes import SLEEPING, TABLE, TWO_STAGES, Running, free_port, repository, until
from tests.inbox.conftest import SETTINGS, STUDY

SERVE = (sys.executable, "-m", "flows.serve")


class Served(NamedTuple):
    folder: Path
    client: httpx.Client  # signed in
    pid: int


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A repository whose deployments are served, with the password that was made for it."""
    folder, port = repository(tmp_path_factory.mktemp("served"), TWO_STAGES), free_port()
    shutil.copy(ROOT / "prefect.yaml", folder)
    write_settings(folder)
    shutil.copy(ROOT / "components/stages/publish.py", folder / "components/stages")  # a flow imports from it
    environment = {name: value for name, value in stand_in.ENVIRONMENT.items() if not name.startswith("PREFECT_")}
    environment |= {"PYTHONPATH": f".{os.pathsep}{ROOT}", "NO_COLOR": "1"}
    with Running([*SERVE, "--port", str(port)], folder, environment) as process:
        until(lambda: "Ctrl-C ends it" in (folder / "log").read_text() or process.poll() is not None, 300)
        assert process.poll() is None, (folder / "log").read_text()
        auth = tuple((folder / SERVER_AUTH).read_text().strip().split(":"))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api", auth=auth, timeout=30) as client:
            token = client.get("/csrf-token", params={"client": "test"}).raise_for_status().json()["token"]
            client.headers.update({"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "test"})
            yield Served(folder, client, process.pid)


def write_settings(folder: Path) -> None:
    """Those of nights that learn a study from an inbox."""
    for path, values in ((Layout("yard").params, STUDY), (RETRAIN, SETTINGS)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(yaml.safe_dump(values))
    (folder / "data/yard").mkdir(parents=True)


def post(served: Served, path: str, **body: object) -> list | dict:
    """What the server answers; a busy one (503: SQLite is locked) is asked again, as Prefect's own client does."""
    answers: list[httpx.Response] = []

    def answered() -> bool:
        answers.append(served.client.post(path, json=body))
        return answers[-1].status_code != 503

    until(answered)
    return answers[-1].raise_for_status().json()


def deployment(served: Served, name: str) -> dict:
    return served.client.get(f"/deployments/name/{name}").raise_for_status().json()


def run(served: Served, name: str, **parameters: object) -> str:
    """The id of a new run of a deployment."""
    path = f"/deployments/{deployment(served, name)['id']}/create_flow_run"
    return post(served, path, parameters=parameters)["id"]


def flow_run(served: Served, run: str) -> dict:
    return served.client.get(f"/flow_runs/{run}").raise_for_status().json()


def wait_for_end(served: Served, run: str) -> dict:
    """The run, once it has ended."""
    until(lambda: flow_run(served, run)["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"))
    return flow_run(served, run)


@pytest.mark.slow
def test_a_deployments_run_ends_with_its_tables_as_artifacts(served: Served) -> None:
    ended = wait_for_end(served, run(served, "reproduce/on-demand"))
    assert ended["state_type"] == "COMPLETED", (served.folder / "log").read_text()
    assert ended["name"] == f"{ended['expected_start_time'][:16].replace('T', ' ')} demo"
    [table] = post(served, "/artifacts/filter", artifacts={"key": {"any_": ["demo-results"]}})
    assert table["data"] == TABLE


@pytest.mark.slow
def test_the_form_of_a_deployment_says_what_its_parameters_are(served: Served) -> None:
    for name in ("retrain/nightly", "search/weekly", "reproduce/on-demand"):
        fields = deployment(served, name)["parameter_openapi_schema"]["properties"]
        assert all(field["description"] for field in fields.values())
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        run(served, "reproduce/on-demand", study="../elsewhere")


@pytest.mark.slow
def test_the_nightly_deployment_has_a_schedule_and_the_search_waits_until_it_is_wanted(served: Served) -> None:
    assert [each["active"] for each in deployment(served, "search/weekly")["schedules"]] == [False]
    assert "weekly: its schedule is paused: prefect.yaml says `active: false`\n" in (served.folder / "log").read_text()
    of_nightly = {"id": {"any_": [deployment(served, "retrain/nightly")["id"]]}}
    scheduled = {"state": {"type": {"any_": ["SCHEDULED"]}}}
    until(lambda: len(post(served, "/flow_runs/filter", deployments=of_nightly, flow_runs=scheduled)) >= 2)


@pytest.mark.slow
def test_the_server_is_for_this_machine_and_for_who_has_the_password(served: Served) -> None:
    url = served.client.base_url
    assert httpx.get(f"{url}flows/count", auth=("admin", "guess")).status_code == 401
    assert httpx.get(f"{url}admin/version").status_code == 401
    assert httpx.post(f"{url}flows/filter", json={}, auth=served.client.auth).status_code == 403, "no CSRF token"
    assert stat.S_IMODE((served.folder / SERVER_AUTH).stat().st_mode) == 0o600
    processes = psutil.Process(served.pid).children(recursive=True)
    listening = [
        each.laddr.ip for process in processes for each in process.net_connections() if each.status == "LISTEN"
    ]
    assert set(listening) == {"127.0.0.1"}


@pytest.mark.slow
def test_cancelling_ends_the_stage_and_ctrl_c_all_that_was_started(served: Served) -> None:
    stand_in.write_stages(served.folder, SLEEPING)
    cancelled = run(served, "reproduce/on-demand")
    sleeper = psutil.Process(stand_in.pid(served.folder / "pid"))
    stopped = [sleeper.parent(), sleeper, *sleeper.children()]
    post(served, f"/flow_runs/{cancelled}/set_state", state={"type": "CANCELLING"})
    assert not psutil.wait_procs(stopped, timeout=60)[1]
    assert wait_for_end(served, cancelled)["state_type"] == "CANCELLED"

    (served.folder / "pid").unlink()
    run(served, "reproduce/on-demand")
    stand_in.pid(served.folder / "pid")
    started = psutil.Process(served.pid).children(recursive=True)
    assert len(started) >= 6, "server, worker, the flow, DVC, a shell, sleep"
    os.killpg(served.pid, signal.SIGINT)  # as a terminal does
    assert not psutil.wait_procs(started, timeout=60)[1]
    until(lambda: (served.folder / "log").read_text().endswith("serve: stopped; what is finished is kept\n"))


@pytest.mark.parametrize("given", ["admin", "admin:", ":secret"])
def test_what_is_no_user_and_password_is_refused_and_not_shown(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(serve.AUTH, given)
    with pytest.raises(UserError, match="must be USER:PASSWORD") as refused:
        serve.auth_string()
    assert "secret" not in str(refused.value)


def test_a_password_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(serve.AUTH, raising=False)
    made = serve.auth_string()
    assert made.startswith("admin:")
    assert len(made) >= 24
    assert serve.auth_string() == made
    assert capsys.readouterr().err.count(made) == 2
    SERVER_AUTH.write_text("")  # a full disk, or killed in the middle
    assert serve.auth_string() not in ("", made)
    assert SERVER_AUTH.stat().st_mode & 0o777 == 0o600


def test_nights_are_scheduled_once_their_settings_name_a_study_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    RETRAIN.parent.mkdir()
    shutil.copy(ROOT / RETRAIN, RETRAIN)
    changed, paused = serve.pause_schedules(written)
    nightly = changed["deployments"][0]
    assert (nightly["name"], nightly["schedules"][0]["active"]) == ("nightly", False)
    assert paused["nightly"] == (
        "params/retrain.yaml: params/my-street/study.yaml: no such file; `dotfield studies` lists the studies; fix "
        "this, then serve again"
    )
    write_settings(tmp_path)
    changed, paused = serve.pause_schedules(written)
    assert changed == written
    assert [*paused] == ["weekly"]


def test_a_folder_without_deployments_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"prefect\.yaml: no such file; give the command in the project's folder"):
        serve.serve(0, 1)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as other:
        other.bind((serve.HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 cannot be used"):
            serve.check_port(port)
