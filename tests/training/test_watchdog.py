"""A process that hangs is ended, after it said where; one that works is left alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from components.errors import UserError
from components.training.watchdog import hang_seconds
from tests.conftest import ROOT

WORKING = """
import sys, time
from components.training.watchdog import Watchdog
with Watchdog(float(sys.argv[1]), lambda stacks: sys.stdout.write(stacks) and sys.stdout.flush()) as watchdog:
    for _ in range(20):
        time.sleep(0.1)
        watchdog.beat()
"""
HANGING = WORKING.replace("watchdog.beat()", "time.sleep(1000)  # hangs here")
STUCK = WORKING.replace("sys.stdout.write(stacks)", "time.sleep(1000)").replace("watchdog.beat()", "time.sleep(1000)")


@pytest.mark.parametrize(("script", "code"), [(WORKING, 0), (HANGING, 1), (STUCK, 1)])
def test_a_process_ends_where_it_hangs_and_says_where(script: str, code: int) -> None:
    """Also where what is to be told hangs too."""
    command = [sys.executable, "-c", script, "60" if script == WORKING else "0.5"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == code
    where = {WORKING: "", HANGING: ended.stdout, STUCK: ended.stderr}[script]
    assert ('File "<string>", line 7 in <module>' in where) == bool(code)


@pytest.mark.parametrize("text", ["soon", "0", "-3", "inf", "nan"])
def test_a_time_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOTFIELD_HANG_SECONDS", text)
    with pytest.raises(UserError, match=f"DOTFIELD_HANG_SECONDS={text}: must be a number of seconds above 0"):
        hang_seconds()
    monkeypatch.delenv("DOTFIELD_HANG_SECONDS")
    assert hang_seconds() == 1800
