"""Counting losses: one contract for every kind; the Bayesian loss and DM-Count against their formulas, as loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from components.config import plugins
from components.config.options import Choice
from components.crowd import Crop, Window
from components.data.manifest import Prepared
from components.density_maps.gaussian import draw
from components.errors import UserError
from components.evaluation.scores import read_scores
from components.losses.shared.dots import dot_counts, dots_in_crop
from components.training.assemble import assemble, load_run, open_data, samples
from tests import crowds, projects
from tests.training.trainings import trained

KINDS = plugins.kinds("loss")
ON_DOTS = [kind for kind in KINDS if kind != "squared_error"]
OF_ONE_CHANNEL = [kind for kind in ON_DOTS if kind != "zip"]
SIZE, SCALE = (48, 64), 40.0
WHOLE = Window(0, 0, *SIZE)
SMALL = {"bayesian": {"sigma": 2}, "zip": {"block": 8}}  # for small images: the background's d is 3.6 sigmas then
PEOPLE = [(10.0, 12.0), (11.0, 15.5), (40.0, 20.0), (40.0, 20.0), (64.0, 48.0), (30.5, 3.0)]  # two coincide


def loss(kind: str, stride: int = 4, scale: float = SCALE, **options: object):
    resolved = plugins.resolve("loss", Choice(kind=kind, **options), "test")
    return plugins.build("loss", kind, resolved, stride=stride, scale=scale)


def crops(dots: list, window: Window = WHOLE, flipped: tuple[bool, ...] = (False,)) -> list[Crop]:
    """The same crop of the same dots, once for each entry of `flipped`."""
    positions = torch.tensor(dots, dtype=torch.float64).reshape(-1, 2)
    return [Crop(0, window, SIZE, positions, torch.empty(0), flipped=each) for each in flipped]


def guess(rows: int = 12, columns: int = 16, below: float = 0.0) -> Tensor:
    """A prediction, some of it below zero if asked for, in people per cell."""
    return (torch.rand(1, 1, rows, columns, dtype=torch.float64) - below) / 20


def outputs(kind: str, rows: int = 12, columns: int = 16, below: float = 0.0) -> Tensor:
    """What a counter might give: people per cell times the target scale, or logits of the order of 1."""
    channels = loss(kind).channels
    if channels == 1:
        return SCALE * guess(rows, columns, below)
    return torch.randn(1, channels, rows, columns, dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dots", [[], PEOPLE[:1], PEOPLE], ids=["none", "one", "six"])
def test_every_loss_is_finite_one_number_an_image_repeatable_and_has_a_gradient(kind: str, dots: list) -> None:
    counted, both = loss(kind), crops(dots, flipped=(False, True))
    predicted = outputs(kind, below=0.3).repeat(2, 1, 1, 1).float().requires_grad_()
    maps = (
        SCALE * torch.stack([draw(each.dots, 4.0, SIZE)[None] for each in both]) if counted.uses_density_map else None
    )
    first, again = counted(predicted, maps, both), counted(predicted, maps, both)
    assert first.shape == (2,)
    assert first.isfinite().all()
    assert torch.equal(first, again)
    first.sum().backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert all(each.any() for each in predicted.grad)


@pytest.mark.parametrize("kind", KINDS)
def test_people_are_one_channel_of_the_targets_scale(kind: str) -> None:
    """Whatever the number of cells, and half as many where the scale is half."""
    for rows, columns in ((12, 16), (7, 9), (1, 1)):
        given = outputs(kind, rows, columns)
        people = loss(kind, scale=10.0).people(given)
        assert people.shape == (1, 1, rows, columns)
        if loss(kind).channels > 1:
            torch.testing.assert_close(loss(kind, scale=5.0).people(given), people / 2)
        else:
            assert torch.equal(people, given)  # none of which is below zero


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_outside_the_region_of_interest_have_no_effect(kind: str) -> None:
    """Regions that end where blocks do; a region that holds everything is none."""
    counted, both = loss(kind, **SMALL.get(kind, {})), crops(PEOPLE[:2], flipped=(False, True))
    given = outputs(kind, below=0.3).repeat(2, 1, 1, 1)
    maps = SCALE * torch.rand(2, 1, 12, 16, dtype=torch.float64) if counted.uses_density_map else None
    torch.testing.assert_close(counted(given, maps, both), counted(given, maps, both, torch.ones(2, 1, 12, 16)))
    regions = torch.zeros(2, 1, 12, 16)
    regions[0, :, :6, :8] = regions[1, :, :6, 8:] = 1
    maps = None if maps is None else maps * regions
    given.requires_grad_()
    inside = counted(given, maps, both, regions)
    inside.sum().backward()
    outside = (regions == 0).expand_as(given)
    assert given.grad is not None
    assert given.grad[outside].abs().max() < 1e-12 < given.grad.abs().amax(dim=(1, 2, 3)).min()
    changed = torch.where(outside, given.detach() + 3 * torch.rand_like(given), given.detach())
    torch.testing.assert_close(counted(changed, maps, both, regions), inside.detach())
    assert (counted(changed, maps, both) - counted(given.detach(), maps, both)).abs().min() > 0.1


@pytest.mark.parametrize("kind", ON_DOTS)
def test_a_mirrored_crop_has_the_loss_of_the_crop(kind: str) -> None:
    """Dots on borders between cells too, which on the mirrored crop lie on the other side of the border."""
    window, predicted = Window(8, 16, 32, 40), outputs(kind, 8, 10)
    dots = [*PEOPLE, (20.0, 16.0), (24.0, 20.0), (16.0, 8.0), (56.0, 40.0)]
    counted = loss(kind, **SMALL.get(kind, {}))
    plain = counted(predicted, None, crops(dots, window))
    mirrored = counted(predicted.flip(-1), None, crops(dots, window, flipped=(True,)))
    torch.testing.assert_close(plain, mirrored)


@pytest.mark.parametrize("kind", OF_ONE_CHANNEL)
def test_the_scale_of_the_target_does_not_change_the_loss(kind: str) -> None:
    predicted, one = guess(), crops(PEOPLE)
    torch.testing.assert_close(loss(kind, scale=1.0)(predicted, None, one), loss(kind)(40 * predicted, None, one))


@pytest.mark.parametrize("kind", ["bayesian", "dm_count"])
def test_a_prediction_that_is_negative_everywhere_recovers(kind: str) -> None:
    predicted = torch.full((1, 1, 12, 16), -1.0, requires_grad=True)
    optimiser, counted = torch.optim.Adam([predicted], lr=0.5), loss(kind, **SMALL.get(kind, {}))
    slower = torch.optim.lr_scheduler.LinearLR(optimiser, 1, 0.01, total_iters=200)
    for _ in range(200):
        optimiser.zero_grad()
        counted(predicted, None, crops(PEOPLE)).sum().backward()
        optimiser.step()
        slower.step()
    assert predicted.sum().item() / SCALE == pytest.approx(len(PEOPLE), abs=0.1)


def test_dots_are_those_of_the_crop_as_the_counter_saw_it() -> None:
    """Half-open cells, the image's far edge within the last, and a dot left of the crop."""
    window = Window(16, 24, 32, 40)
    seen, inside = dots_in_crop(*crops(PEOPLE, window, flipped=(True,)))
    assert inside.tolist() == [False, False, True, True, True, False]
    assert seen[2:5].tolist() == [[24, 4], [24, 4], [0, 32]]
    counts = dot_counts(*crops(PEOPLE, window, flipped=(True,)), 4)
    assert {tuple(place): counts[tuple(place)].item() for place in counts.nonzero().tolist()} == {(1, 5): 2, (7, 0): 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    sizes = [(48, 64)] * 16
    return open_data(*crowds.write(tmp_path_factory.mktemp("made"), sizes, ["train"] * 12 + ["val"] * 3 + ["test"]))


@pytest.mark.parametrize("kind", KINDS)
def test_training_with_each_loss_brings_the_error_down_and_below_a_constants(made, kind: str) -> None:
    counter, counted = {"kind": "mcnn", "optimiser": {"lr": 1e-3}}, {"kind": kind} | SMALL.get(kind, {})
    plan = crowds.plan(counter=counter, loss=counted, epochs=12)
    _, states = trained(made, plan)
    errors = [record["val_mae"] for record in states[-1]["history"]]
    training, validation = ([len(row.dots) for row in made.prepared.split(split)] for split in ("train", "val"))
    constant = np.abs(np.array(validation) - np.median(training)).mean()
    assert min(errors[-4:]) < 0.5 * errors[0]
    assert errors[-1] < constant


def test_a_study_counts_its_test_images_by_what_each_loss_calls_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the stages: what a run's weights file says is enough to count as its model does."""
    monkeypatch.chdir(tmp_path)
    names = {kind.replace("_", "-"): kind for kind in ON_DOTS}
    _, layout = projects.run_study(
        {
            "study": "losses",
            "title": "losses on dots",
            "dataset": "crowd",
            "counter": {"kind": "mcnn"},
            "datasets": {"crowd": {"source": {"kind": "synthetic", "images": 6, "height": 48, "width": 64}}},
            "maps": {"near": {"dataset": "crowd", "kernel": {"kind": "fixed"}}},
            "training": {"epochs": 1, "batch_size": 4},
            "experiments": {name: {"annotation": "near", "loss": {"kind": kind}} for name, kind in names.items()},
            "publish": {"baseline": "zip"},
        }
    )
    prepared = Prepared(layout.prepared("crowd").folder)
    images = {row.id: prepared.images[row.number] for row in prepared.split("test")}
    for name in names:
        scores, model = read_scores(layout.scores(name)), load_run(layout.run(name, 0)).model
        expected = [model.predict_image(images[each]).sum(dtype=np.float64) for each in scores.ids]
        assert scores.prediction[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("kind", ON_DOTS)
def test_no_density_map_is_made_for_a_loss_on_dots(made, kind: str) -> None:
    plan = crowds.plan(loss={"kind": kind}, crop=[32, 48])
    model = assemble(plan, 0)
    model.density_map.register_forward_pre_hook(lambda *_: pytest.fail("a density map was made"))
    assert not model.learns_maps
    assert model(next(samples(plan, 0, made, 4)[0].batches(1, 2))[0], learn_maps=False).counting.isfinite().all()


def test_a_density_map_beside_a_loss_on_dots_is_refused() -> None:
    plan = crowds.plan({"kind": "refined", "widths": [4]})
    with pytest.raises(UserError, match=r"density_map: refined is of no use with loss bayesian.*leave density_map out"):
        plan.with_values({"loss": {"kind": "bayesian"}}, "there")
