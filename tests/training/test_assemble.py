"""What training starts from, where the counter's options name a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from components.counters.mcnn import Params
from components.errors import UserError
from components.training.assemble import assemble, load_start
from components.workspace.layout import RunPaths
from tests import crowds


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run of an MCNN whose weights are those of seed 7."""
    plan = crowds.plan()
    model = assemble(plan, 7)
    crowds.save_weights(tmp_path / "run", plan, model.state_dict(), model.stride, model.scale)
    return tmp_path / "run"


@pytest.mark.parametrize("named", [lambda run: run, lambda run: RunPaths(run).best], ids=["folder", "file"])
def test_a_counter_starts_from_a_run(named, run: Path) -> None:
    model = assemble(crowds.plan(counter={"kind": "mcnn", "weights": str(named(run))}), 0)
    assert load_start(model) == "test/made, seed 7"
    expected = assemble(crowds.plan(), 7).counter.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.counter.state_dict().items())


def test_a_run_of_another_counter_is_refused(run: Path) -> None:
    model = assemble(crowds.plan(counter={"kind": "csrnet", "weights": str(run)}), 0)
    with pytest.raises(UserError, match=r"counter\.weights: .*best\.safetensors: holds another counter.*'mcnn'"):
        load_start(model)


def test_a_run_whose_counts_have_another_scale_is_refused(run: Path) -> None:
    plan = crowds.plan(counter={"kind": "mcnn", "weights": str(run)}, target_scale=1)
    with pytest.raises(UserError, match=r"was trained with target scale 40; set training\.target_scale to it"):
        load_start(assemble(plan, 0))


def test_other_files_are_read_by_the_kind_of_counter(tmp_path: Path) -> None:
    model = assemble(crowds.plan(counter=Params(weights=tmp_path / "absent.h5").model_dump() | {"kind": "mcnn"}), 0)
    with pytest.raises(UserError, match=r"absent\.h5"):
        load_start(model)
