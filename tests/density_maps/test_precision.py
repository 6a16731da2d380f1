"""In which precision maps are made: what "auto" means, that it reaches the networks, and that runs are known by it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from components.config import plugins
from components.config.options import Choice
from components.networks import autocast, in_bf16
from components.runs.provenance import fingerprint, precision
from tests import crowds
from tests.density_maps.test_learned import density_map, full_crops

CPU = torch.device("cpu")
KINDS = ("generated", "kernel")


@pytest.fixture(params=[True, False], ids=["bf16", "none"])
def has(request, monkeypatch) -> bool:
    """Whether the processor multiplies in bf16."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": request.param})
    return request.param


def test_auto_is_bf16_where_the_processor_multiplies_in_it(has: bool) -> None:
    found = {asked: in_bf16(asked, CPU) for asked in ("auto", "bf16", "fp32")}
    assert found == {"auto": has, "bf16": True, "fp32": False}


def test_runs_are_known_and_resumed_by_what_auto_means(has: bool, monkeypatch) -> None:
    plan, drawn = crowds.plan({"kind": "generated"}), crowds.plan()
    assert (precision(plan), precision(drawn)) == ("bf16" if has else "fp32", "fp32")
    here = fingerprint("train", plan, 0, "data")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": not has})
    assert fingerprint("train", plan, 0, "data") != here


def test_frozen_maps_have_the_precision_of_the_run_that_made_them(tmp_path: Path) -> None:
    for earlier in ("fp32", "bf16"):
        crowds.save_weights(tmp_path / earlier, crowds.plan({"kind": "generated", "precision": earlier}), {}, 4, 40.0)
        assert precision(crowds.plan({"kind": "frozen", "run": str(tmp_path / earlier)})) == earlier


@pytest.mark.parametrize("kind", KINDS)
def test_the_papers_preset_is_in_fp32(kind: str) -> None:
    asked = {
        preset: plugins.resolve("density map", Choice(kind=kind), "test", preset) for preset in ("paper", "stable")
    }
    assert {preset: options.precision for preset, options in asked.items()} == {"paper": "fp32", "stable": "auto"}


@pytest.mark.parametrize("kind", KINDS)
def test_maps_in_bf16_differ_from_those_in_fp32_by_rounding(kind: str) -> None:
    exact, rounded = (density_map(kind, precision=each) for each in ("fp32", "bf16"))
    rounded.load_state_dict(exact.state_dict())
    expected, made = (maps(full_crops((64, 96), 4)) for maps in (exact, rounded))
    assert 0 < (made - expected).norm() < 0.02 * expected.norm()
    made.sum().backward()
    assert {made.dtype} | {weight.grad.dtype for weight in rounded.parameters()} == {torch.float32}


def test_gradients_of_many_calls_add_up_in_fp32() -> None:
    """Large ones, and many that are lost beside them where a sum has eight bits."""
    layer = nn.Conv2d(1, 1, 1, bias=False)

    def called(values: Tensor) -> Tensor:
        return sum(layer(value.view(1, 1, 1, 1)).float().sum() for value in values)

    with autocast(bf16=True, device=CPU):
        called(torch.tensor([256.0, *[0.5] * 100, 256.0])).backward()
    assert layer.weight.grad.item() == 256 + 50 + 256
