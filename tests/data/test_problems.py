"""Every problem that is reported has an id of its kind, by which programs know it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import pytest

from components.crowd import NOTHING_LOST, Problem, ProblemId
from tests.conftest import ROOT

FILES = sorted(path for package in ("data", "datasets") for path in (ROOT / "components" / package).rglob("*.py"))


def calls(path: Path) -> list[ast.Call]:
    """Every place of a file where a problem is made."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return [each for each in nodes if isinstance(each, ast.Call) and getattr(each.func, "id", "") == "Problem"]


@pytest.mark.parametrize("path", [path for path in FILES if calls(path)], ids=lambda path: path.stem)
def test_no_problem_is_left_without_a_kind(path: Path) -> None:
    without = [
        call.lineno
        for call in calls(path)
        if len(call.args) + len(call.keywords) < len(Problem._fields)
        and not any(isinstance(each, ast.Starred) for each in call.args)
    ]
    assert without == []


def test_every_kind_is_made_somewhere() -> None:
    code = "".join(path.read_text() for path in FILES)
    assert [id for id in get_args(ProblemId) if id != "other" and f'"{id}"' not in code] == []


def test_what_is_lost_follows_from_the_kind() -> None:
    assert Problem("a.jpg", "what", "action").lost
    assert Problem("a.jpg", "what", "action", "dots-outside").lost
    assert not Problem("a.jpg", "what", "action", "size-differs").lost
    assert set(get_args(ProblemId)) >= NOTHING_LOST
