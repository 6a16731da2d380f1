"""What a person types: the lists, the check of a study, and one clear line for every mistake."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from components import cli
from components.config.plugins import kinds
from components.errors import UserError
from tests import stand_in
from tests.conftest import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the demo's params, in which commands are typed."""
    shutil.copytree(ROOT / "params" / "demo", tmp_path / "params" / "demo")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_studies_are_listed_with_their_size_and_state(project: Path, typed) -> None:
    broken = project / "params" / "broken" / "study.yaml"
    broken.parent.mkdir()
    broken.write_text("study: [")
    code, out, _ = typed("studies")
    assert code == 0
    head, first, *_, last = out.splitlines()
    assert head.split() == ["study", "experiments", "runs", "state", "title"]
    assert first.split()[:2] == ["broken", "mistake"]
    assert "params/broken/study.yaml: is not YAML" in first
    assert re.fullmatch(r"demo +5 +11  never run  A synthetic crowd *", last)


def test_the_state_of_a_study_follows_its_files(project: Path, typed) -> None:
    (project / "dvc.lock").touch()
    assert "unfinished" in typed("studies")[1]
    (project / "out/demo/published").mkdir(parents=True)
    (project / "out/demo/published/summary.txt").touch()
    assert "published" in typed("studies")[1]


def test_tables_are_listed_by_their_numbers_and_say_that_their_data_is_not_here(project: Path, typed) -> None:
    for study in ("table-10", "table-9", "table-7"):
        shutil.copytree(ROOT / "params" / study, project / "params" / study)
    lines = [line for line in typed("studies")[1].splitlines()[1:] if not line.startswith(" ")]
    assert [line.split()[0] for line in lines] == ["demo", "table-7", "table-9", "table-10"]
    assert ["no raw data" in line for line in lines] == [False, True, True, True]


def test_kinds_lists_every_kind_of_every_family(typed) -> None:
    code, out, _ = typed("kinds")
    assert code == 0
    assert f"counter      {', '.join(kinds('counter'))}\n" in out
    assert "generated" in out


@pytest.mark.parametrize("study", sorted(path.parent.name for path in ROOT.glob("params/*/study.yaml")))
def test_every_committed_study_has_no_mistake(study: str, typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    code, out, err = typed("check", study)
    said, *missing = out.splitlines()
    assert (code, said, err) == (0, f"params/{study}/study.yaml: no mistake found", "")
    assert all("root: there is no folder " in line for line in missing)


def test_check_reports_every_mistake_at_once(project: Path, typed) -> None:
    stand_in.edit(project, "demo", "counter: {kind: efficientnet_lite,", "counter: {kind: mcmm,")
    stand_in.edit(project, "demo", "sigma: 4", "sigma: -4")
    stand_in.edit(project, "demo", "beta: 100,", "betta: 100,")
    code, out, err = typed("check", "demo")
    assert (code, out) == (2, "")
    lines = err.splitlines()
    wrong = [line for line in lines if "counter: there is no counter 'mcmm'; kinds: csrnet, " in line]
    assert len(wrong) == 2, "the study's, and that of the experiment which overrides its options"
    assert any("maps.crowd-fixed.kernel: sigma" in line and "-4" in line for line in lines)
    assert any("experiments.generated.density_map: betta: there is no such option" in line for line in lines)
    assert len(lines) == 4


def test_check_reads_what_an_experiment_overrides(project: Path, typed) -> None:
    stand_in.edit(project, "demo", "    published: fixed_4", "    training: {epoch: 3}")
    code, _, err = typed("check", "demo")
    assert code == 2
    assert "experiments.fixed.training: epoch: there is no such option; allowed: epochs" in err


@pytest.mark.parametrize("command", ["run", "publish", "check"])
def test_an_unknown_study_is_one_line(command: str, project: Path, typed) -> None:
    expected = "dotfield: there is no study 'dmeo' in params/; studies: demo\n"
    assert typed(command, "dmeo") == (2, "", expected)


def test_the_version_is_that_of_the_package(typed) -> None:
    assert typed("--version") == (0, "dotfield, version 0.2.0\n", "")


def test_help_imports_nothing_that_takes_time() -> None:
    code = "import sys\nsys.argv = ['dotfield', '--help']\nfrom components import cli\n"
    code += "try:\n    cli.main()\nfinally:\n    print(sorted({'torch', 'numpy', 'ray', 'pydantic'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


def test_the_traceback_of_a_mistake_is_shown_where_it_is_asked_for(project: Path, monkeypatch) -> None:
    monkeypatch.setenv("DOTFIELD_TRACEBACK", "")
    monkeypatch.setattr("sys.argv", ["dotfield", "--traceback", "check", "dmeo"])
    with pytest.raises(UserError, match="there is no study 'dmeo'"):
        cli.main()


def test_outside_the_project_is_one_line(tmp_path: Path, typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = typed("studies")
    assert code == 2
    assert err == f"dotfield: there is no folder params/ in {tmp_path}: run this in the project's root\n"


@pytest.mark.slow
def test_run_shows_the_table_and_a_failed_stage_its_exit_code(tmp_path: Path) -> None:
    copy = "mkdir -p out/demo/published && cp table.md out/demo/published/summary.txt"
    stages = {"publish": {"cmd": copy, "deps": ["table.md"], "outs": ["out/demo/published"]}}
    folder = stand_in.repository(tmp_path, stages)

    failed = stand_in.command(folder, "dotfield", "run", "demo")
    assert failed.returncode == 1
    assert "failed to reproduce 'publish'" in failed.stdout
    assert "Traceback" not in failed.stdout

    (folder / "table.md").write_text("| the table |\n")
    first = stand_in.command(folder, "dotfield", "run", "demo")
    assert first.returncode == 0, first.stdout
    assert first.stdout.count("\n| the table |\n") == 1
    assert "nothing changed" not in first.stdout
    second = stand_in.command(folder, "dotfield", "run", "demo").stdout
    assert second.startswith("nothing changed: every stage of demo is up to date\n\n| the table |")

    document = stand_in.command(folder, "dotfield", "run", "demo", "--json", stderr=subprocess.PIPE)
    assert json.loads(document.stdout) == {
        "schema": 1,
        "changed": False,
        "study": "demo",
        "results": None,
        "report": "out/demo/published/report.html",
        "tables": "out/demo/published/tables",
    }
    assert "nothing changed" in document.stderr

    for text in ("| another |\n", "| the table |\n"):
        (folder / "table.md").write_text(text)
        shown = stand_in.command(folder, "dotfield", "run", "demo").stdout
        assert shown.endswith(f"\n{text}\n")
    assert "stage 1 of 1: publish, from the cache\n" in shown
    assert shown.count("git add") == shown.count("autostage") == 0
    assert shown.count("to keep the record of this run, commit dvc.yaml and dvc.lock") == 1
    log = (folder / ".dotfield/logs/demo/run.log").read_text()
    assert "Stage 'publish' is cached - skipping run" in log
    assert "git add dvc.lock" in log


@pytest.mark.slow
def test_run_says_which_stage_of_how_many_runs_and_shows_what_it_says(tmp_path: Path) -> None:
    publish = "mkdir -p out/demo/published && cp two out/demo/published/summary.txt"
    stages = {
        "one": {"cmd": "echo 12 dots | tee one", "outs": ["one"]},
        "two": {"cmd": "echo 7 > two; echo git add nothing", "deps": ["one", "table.md"], "outs": ["two"]},
        "publish": {"cmd": publish, "deps": ["two"], "outs": ["out/demo/published"]},
    }
    folder = stand_in.repository(tmp_path, stages)
    (folder / "table.md").touch()
    first = stand_in.command(folder, "dotfield", "run", "demo").stdout.splitlines()
    said = [line for line in first if line.startswith(("stage", "12 dots", "git add"))]
    assert said == ["stage 1 of 3: one", "12 dots", "stage 2 of 3: two", "git add nothing", "stage 3 of 3: publish"]

    (folder / "table.md").write_text("changed")
    second = stand_in.command(folder, "dotfield", "run", "demo").stdout.splitlines()
    assert [line for line in second if line.startswith("stage")] == ["stage 2 of 3: two"]


@pytest.mark.parametrize(("command", "said"), [("run", 1), ("check", 0)])
def test_each_folder_of_raw_data_that_is_not_there_is_named_with_who_publishes_it(
    command: str, said: int, project: Path, typed
) -> None:
    """By `run` on standard error, before DVC is asked for anything; by `check` below what it found otherwise."""
    shutil.copytree(ROOT / "params/table-3", project / "params/table-3", ignore=shutil.ignore_patterns("dvc.*"))
    code, *streams = typed(command, "table-3")
    assert code == 2 * said
    for part, start in (("A", "dotfield: " * said), ("B", "")):
        assert (
            f"{start}params/table-3/study.yaml: datasets.part-{part.lower()}.source: root: there is no folder "
            f"data/shanghaitech/part_{part}; it must hold {{train_data,test_data}}/images/IMG_*.jpg with "
            "{ground-truth,ground_truth}/GT_IMG_*.mat; get the data set from the authors of "
            '"Single-Image Crowd Counting via Multi-Column CNN" (Zhang et al., CVPR 2016), '
            "or set root to where it lies\n"
        ) in streams[said]


@pytest.mark.slow
def test_run_finds_mistakes_before_anything_runs(tmp_path: Path) -> None:
    folder = stand_in.repository(tmp_path)
    stand_in.edit(folder, "demo", "density_map.beta:", "density_map.betta:")
    refused = stand_in.command(folder, "dotfield", "run", "demo")
    assert refused.returncode == 2
    assert "searches.generated.space: generated has no option 'density_map.betta'" in refused.stdout
    assert stand_in.ran(folder) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ending_run_ends_dvc(number: int, tmp_path: Path) -> None:
    folder = stand_in.repository(tmp_path, {"sleeper": {"cmd": "echo $$ > pid.tmp && mv pid.tmp pid && sleep 600"}})
    run = subprocess.Popen(["dotfield", "run", "demo"], cwd=folder, env=stand_in.ENVIRONMENT)
    try:
        dvc = psutil.Process(stand_in.pid(folder / "pid")).parent()
        assert dvc is not None
        below = [dvc, *dvc.children(recursive=True)]
        run.send_signal(number)
        assert run.wait(timeout=60) != 0
        _, left = psutil.wait_procs(below, timeout=30)  # a killed command's guard ends them
        assert not left
    finally:
        for process in psutil.process_iter(["cwd"]):
            if process.info["cwd"] == str(folder):
                process.kill()
