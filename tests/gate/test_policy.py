"""The policy: every mistake in it is named, and the committed one is right."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from components.config.load import load_options
from components.errors import UserError
from components.gate.policy import HeldOut, Policy
from components.gate.verdict import Check, outcome
from tests.conftest import ROOT


def test_the_committed_policy_is_right() -> None:
    policy = load_options(Policy, ROOT / "params/gate.yaml")
    assert policy == Policy()  # it says what the defaults are


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acuracy: {}", "gate.yaml: acuracy: there is no such option; allowed: held_out, accuracy"),
        ("accuracy: {tolerence: 1}", "accuracy.tolerence: there is no such option; allowed: tolerance, confidence"),
        ("accuracy: {confidence: 95}", "accuracy.confidence: Input should be less than 1, not 95"),
        ("supporting: {blocking: [games]}", "supporting.blocking.0: Input should be 'density', 'camera'"),
        ("held_out: {source: {kind: points}, camera: 'cam[0-9]+'}", "held_out.camera: 'cam[0-9]+' must have one group"),
        ("held_out: {sourc: {kind: points}}", "held_out.sourc: there is no such option; allowed: source, half"),
        ("costs: {latency: 1, latency: 2}", "gate.yaml: is not YAML: line 1: 'latency' stands twice"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "gate.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        load_options(Policy, tmp_path / "gate.yaml")
    assert message in str(error.value)


def test_every_option_is_described() -> None:
    sections = [HeldOut, *(type(each) for each in vars(Policy()).values() if isinstance(each, BaseModel))]
    assert len(sections) == len(Policy.model_fields)
    bare = [name for section in sections for name, field in section.model_fields.items() if not field.description]
    assert bare == []


def check(tier: str, verdict: str, id: str = "x") -> Check:
    return Check(id, tier, verdict, None, None, "")


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ([], "GO"),
        ([check("critical", "pass"), check("supporting", "fail")], "GO"),
        ([check("critical", "pass"), check("supporting", "fail", "bias:x")], "NO-GO"),
        ([check("critical", "pass"), check("supporting", "missing", "bias")], "GO"),
        ([check("critical", "insufficient"), check("critical", "pass")], "INCONCLUSIVE"),
        ([check("critical", "missing"), check("critical", "fail")], "NO-GO"),
        ([check("critical", "missing"), check("supporting", "fail", "bias")], "NO-GO"),
    ],
)
def test_the_outcome_follows_from_the_tiers(checks: list[Check], expected: str) -> None:
    assert outcome(checks, {"bias"}) == expected
