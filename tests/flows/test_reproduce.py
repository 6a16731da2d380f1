"""The flow on small real DVC repositories: without a server, against one, failing and being stopped."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows import dvc
from tests import stand_in
from tests.conftest import ROOT
from tests.flows.processes import (
    PUBLISHED,
    SLEEPING,
    TABLE,
    TWO_STAGES,
    Running,
    free_port,
    post,
    prefect_environment,
    repository,
    server,
    stage,
)

pytestmark = pytest.mark.slow

FLOW = (sys.executable, "-m", "flows.reproduce")


@pytest.fixture(scope="module")
def serverless(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return prefect_environment(tmp_path_factory.mktemp("prefect"))


@pytest.fixture(scope="module")
def served(serverless: dict[str, str]) -> Iterator[dict[str, str]]:
    """An environment with a server that goes on."""
    home = Path(serverless["PREFECT_HOME"]) / "served"
    environment = prefect_environment(home) | {"PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"}
    with server(environment):
        yield environment


def artifact(environment: dict[str, str], key: str) -> str:
    found = post(environment, "artifacts/filter", artifacts={"key": {"any_": [key]}}, sort="CREATED_DESC")
    return found[0]["data"]


def test_stages_come_from_dvc_each_after_its_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    stages = dvc.stages(Path("dvc.yaml"))
    listed = stand_in.command(ROOT, sys.executable, "-m", "dvc", "stage", "list", "--name-only").stdout.split()
    addresses = [stage.address for stage in stages]
    assert sorted(addresses) == sorted(listed)
    assert all(addresses.index(need) < place for place, stage in enumerate(stages) for need in stage.after)
    assert set(stages[-1].after) == set(addresses) - {"resolve", "publish"}


def test_a_failing_stage_fails_the_flow_with_its_own_last_line_first(
    tmp_path: Path, serverless: dict[str, str]
) -> None:
    stages = TWO_STAGES | {
        "broken": stage("echo the dots are gone >&2; exit 3", out="never"),
        "later": stage("touch later", out="later", deps=("never",)),
    }
    folder = repository(tmp_path, stages)
    result = stand_in.command(folder, *FLOW, env=serverless)
    assert result.returncode == 1
    first, second = result.stdout.partition("demo: the dots are gone\n")[2].splitlines()[:2]
    assert first == "stage broken ended with exit code 255; its last lines:"
    assert second == "Running stage 'broken':"
    assert "Traceback" not in result.stdout
    assert (folder / PUBLISHED).exists(), "what does not depend on the broken stage goes on"
    assert not (folder / "later").exists()


def test_tables_are_artifacts_and_a_second_run_runs_no_stage(tmp_path: Path, served: dict[str, str]) -> None:
    folder = repository(tmp_path, TWO_STAGES)
    first = stand_in.command(folder, *FLOW, env=served)
    assert first.returncode == 0, first.stdout
    assert "Task run 'prepare'" in first.stdout
    assert "counted the dots" in first.stdout
    assert artifact(served, "demo-results") == TABLE
    second = stand_in.command(folder, *FLOW, env=served)
    assert second.returncode == 0, second.stdout
    assert "Running stage" not in second.stdout


def test_a_mistake_has_a_name_in_prefects_list_and_an_exit_code_of_its_own(
    tmp_path: Path, served: dict[str, str]
) -> None:
    folder = repository(tmp_path, TWO_STAGES)
    result = stand_in.command(folder, *FLOW, "absent", env=served)
    assert result.returncode == 2
    assert "\nabsent: params/absent/study.yaml: " in result.stdout
    [ended] = post(served, "flow_runs/filter", sort="START_TIME_DESC", limit=1)
    assert ended["state"]["name"] == "Mistake"


def test_independent_stages_run_side_by_side(tmp_path: Path, served: dict[str, str]) -> None:
    """Each of two stages waits for a file of the other: one after the other they would never end. Each has half of the
    CPUs for its Ray."""
    meet = (
        "touch {0}.here; for i in $(seq 600); do "
        '[ -e {1}.here ] && echo "$RAY_OVERRIDE_RESOURCES" > {0} && exit 0; sleep 0.1; done; exit 1'
    )
    stages = {name: stage(meet.format(name, other), out=name) for name, other in (("a", "b"), ("b", "a"))}
    folder = repository(tmp_path, stages)
    result = stand_in.command(folder, *FLOW, "--parallel", "2", env=served)
    assert result.returncode == 0, result.stdout
    half = max(1, (os.cpu_count() or 1) // 2)
    assert [json.loads((folder / name).read_text()) for name in ("a", "b")] == [{"CPU": half}] * 2


@pytest.mark.parametrize(
    ("number", "where"), [(signal.SIGINT, "serverless"), (signal.SIGTERM, "served"), (signal.SIGKILL, "serverless")]
)
def test_a_signal_ends_every_process_of_the_flow(
    number: int, where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = repository(tmp_path, SLEEPING | {"next": stage("touch next", out="next")})
    with Running([*FLOW], folder, request.getfixturevalue(where)) as flow:
        stand_in.pid(folder / "pid")
        processes = psutil.Process(flow.pid).children(recursive=True)
        assert len(processes) >= (3 if where == "served" else 4), "DVC, a shell, sleep, and the temporary server"
        if number == signal.SIGKILL:
            flow.kill()
        else:
            os.killpg(flow.pid, number)  # as a terminal does
        assert flow.wait(timeout=60) != 0
        _, left = psutil.wait_procs(processes, timeout=30)
        assert not left
    assert not (folder / "next").exists()
    said = (folder / "log").read_text()
    assert "Traceback" not in said
    assert "Completed()" not in said
