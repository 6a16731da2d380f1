"""The lock and the Makefile: what a newcomer's two commands stand on."""

from __future__ import annotations

import re
import sys
import time
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests import stand_in
from tests.conftest import ROOT

LOCK = (ROOT / "requirements.lock").read_text().splitlines()
PINS = [line for line in LOCK if not line.startswith("#")]


def test_the_lock_is_exact_pins_and_names_no_place() -> None:
    assert [pin for pin in PINS if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", pin)] == []
    assert not re.search(r"https?:|--index|--find-links|file:", "\n".join(LOCK))


def test_the_lock_fits_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [Requirement(text) for text in project["dependencies"] + extras["dev"] + extras["docs"]]
    pins = {_same(name): version for name, version in (pin.split("==") for pin in PINS)}
    assert [str(want) for want in wanted if pins.get(_same(want.name), "absent") not in want.specifier] == []


def _same(name: str) -> str:
    """One spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_a_python_without_venv_is_told_what_to_install(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    result = stand_in.command(tmp_path, "make", "demo", "PYTHON=/bin/false")
    assert result.returncode == 2
    assert "must be Python 3.11 or newer with its venv module (Debian: apt install python3-venv)" in result.stdout


def test_help_names_every_command() -> None:
    listed = stand_in.command(ROOT, "make", "help").stdout
    names = ["help", "demo", "test", "audit", "serve", "docs", "wheel", "lock", "clean"]
    assert [line.split()[1] for line in listed.splitlines()] == names


@pytest.mark.slow
def test_a_second_make_demo_runs_nothing_and_says_so(tmp_path: Path) -> None:
    folder = stand_in.repository(tmp_path)
    stamp = folder / ".venv" / ".installed"
    stamp.parent.mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    time.sleep(0.01)
    stamp.touch()

    first = stand_in.command(folder, "make", "demo")
    assert first.returncode == 0, first.stdout
    assert len(stand_in.ran(folder)) == 16
    numbers = re.findall(r"^stage (\d+) of 17: \w+", first.stdout, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, 18)], "the real `resolve` is the first"
    assert "WARNING" not in first.stdout
    assert first.stdout.count("git add") == 0
    assert first.stdout.rstrip().endswith("report: out/demo/published/report.html")
    second = stand_in.command(folder, "make", "demo")
    assert "nothing changed" in second.stdout
    assert "report: out/demo/published/report.html" in second.stdout
    assert stand_in.ran(folder) == []
