"""Maps of an earlier run's generator: in this run's scale, at its stride, and refused where they cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from components.density_maps.crops import full_window
from components.errors import UserError
from tests import crowds
from tests.density_maps.test_learned import density_map, earlier_run, full_crops


def test_a_frozen_generator_makes_the_earlier_runs_maps_in_this_runs_scale(tmp_path: Path) -> None:
    earlier = earlier_run(tmp_path, 8, target_scale=5.0)
    frozen = density_map("frozen", 8, scale=10.0, run=str(tmp_path))
    one = full_crops((64, 64), 8)
    torch.testing.assert_close(frozen(one), 2 * earlier(one))
    assert not frozen(one).requires_grad
    assert frozen.refinement_loss(frozen(one), one).tolist() == [0]


@pytest.mark.parametrize("size", [(64, 64), (60, 84)])
def test_a_frozen_generators_coarser_map_is_spread_and_keeps_its_people(tmp_path: Path, size: tuple[int, int]) -> None:
    """Of 60 x 84 px the last cells of 8 px reach over the last ones of 4."""
    earlier, fine = earlier_run(tmp_path, 8), full_window(size, 4)
    frozen = density_map("frozen", 4, scale=40.0, run=str(tmp_path))
    people = earlier(full_crops(size, 8))[0, 0] / 10
    made = frozen(full_crops(size, 4))[0, 0] / 40
    assert made.shape == (fine.height // 4, fine.width // 4)
    assert made.sum().item() == pytest.approx(people.sum().item(), rel=1e-5)
    torch.testing.assert_close(made[4:6, 2:4], (people[2, 1] / 4).expand(2, 2))
    torch.testing.assert_close(made[-1, -1], people[-1, -1] / (1 if size[0] % 8 else 4))


def test_a_frozen_generator_blurs_on_the_grid_on_which_it_learned(tmp_path: Path) -> None:
    """On its own counter's cells of 8 px, for a counter of stride 4."""
    plan = crowds.plan({"kind": "generated", "resolution": "grid", "precision": "fp32"})
    maps = density_map("generated", 8, scale=10.0, resolution="grid")
    weights = {f"density_map.{name}": value for name, value in maps.state_dict().items()}
    crowds.save_weights(tmp_path, plan, weights, 8, 10.0)
    frozen = density_map("frozen", 4, scale=40.0, run=str(tmp_path))
    assert frozen.generator.cell == 8
    people, made = maps(full_crops((64, 64), 8))[0, 0] / 10, frozen(full_crops((64, 64), 4))[0, 0] / 40
    torch.testing.assert_close(made[4:6, 2:4], (people[2, 1] / 4).expand(2, 2))


def test_a_frozen_hard_normalised_map_has_its_people_at_another_stride_too(tmp_path: Path) -> None:
    plan = crowds.plan({"kind": "generated", "refinement": "hard_norm"})
    maps = density_map("generated", 8, scale=10.0, refinement="hard_norm")
    weights = {f"density_map.{name}": value for name, value in maps.state_dict().items()}
    crowds.save_weights(tmp_path, plan, weights, 8, 10.0)
    frozen = density_map("frozen", 4, scale=40.0, run=str(tmp_path))
    assert frozen(full_crops((60, 84), 4, people=30)).sum().item() / 40 == pytest.approx(30, rel=1e-5)


def test_runs_that_cannot_be_frozen_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"density_map\.run: .* holds no finished run; train it first"):
        density_map("frozen", run=str(tmp_path))
    earlier_run(tmp_path, 4)
    with pytest.raises(UserError, match=r"for a counter of stride 4, and this one's is 8; name a run"):
        density_map("frozen", 8, run=str(tmp_path))
    (tmp_path / "best.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match=r"is damaged .* train the run again"):
        density_map("frozen", 8, run=str(tmp_path))
    earlier_run(tmp_path, 4, kind="identity")
    with pytest.raises(UserError, match=r"has maps of kind identity; name a run that trained a generator"):
        density_map("frozen", run=str(tmp_path))
