"""What a run sees: the order of samples, crops and their maps, and images of all sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.crowd import CELL, Window, cells_of
from components.data.manifest import Prepared
from components.data.packed import Pack
from components.density_maps.gaussian import draw
from components.errors import UserError
from components.training.assemble import assemble, open_data, samples
from components.training.joint import flip
from components.training.samples import Samples, prefetch
from tests import crowds


def known(batch) -> set[tuple]:
    return {(crop.number, crop.window, crop.flipped) for crop in batch.crops}


def test_the_order_of_samples_does_not_depend_on_the_number_of_workers(made) -> None:
    training = samples(crowds.plan(crop=[32, 48]), 0, made, 4)[0]
    alone = [known(batch) for batch, _ in training.batches(2, 4)]
    shares = [list(training.batches(2, 4, rank=rank, workers=3)) for rank in range(3)]
    for step, expected in enumerate(alone):
        parts = [share[step][0] for share in shares]
        assert set().union(*(known(part) for part in parts if part is not None)) == expected
    assert shares[2][-1] == (None, 1)  # the fifth image is the last batch, and another worker's


def test_every_training_image_is_seen_once_an_epoch(made) -> None:
    training = samples(crowds.plan(), 0, made, 4)[0]
    for epoch in (1, 2):
        assert sorted(crop.number for batch, _ in training.batches(epoch, 2) for crop in batch.crops) == [0, 1, 2, 3, 4]


def test_crops_and_their_maps_show_the_same_place(made) -> None:
    """A flipped crop's map, cut and mirrored, is the map drawn from mirrored dots."""
    data, pack = made.prepared, made.maps
    training = Samples(data, pack, "train", stride=4, crop=(32, 32), flip=True, seed=1)
    seen = [batch for epoch in range(6) for batch, _ in training.batches(epoch, 1) if batch.crops[0].flipped]
    assert seen
    for batch in seen:
        [crop] = batch.crops
        row, window = data.rows[crop.number], crop.window
        pixels = data.images[row.number][window.top : window.top + 32, window.left : window.left + 32]
        np.testing.assert_array_equal(batch.images[0].permute(1, 2, 0).numpy(), pixels[:, ::-1])
        mirrored = torch.from_numpy(row.dots * (-1, 1) + (row.width, 0))
        place = Window(window.top, row.width - window.left - 32, 32, 32)
        top, left = window.top // CELL, window.left // CELL
        cut = crop.annotation[None, None, top : top + 8, left : left + 8]
        drawn = draw(mirrored, 4.0, (row.height, row.width), window=place)
        torch.testing.assert_close(flip(cut, [crop])[0, 0], drawn, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stride", [4, 8])
def test_images_smaller_than_the_crop_and_odd_sizes_keep_their_people(tmp_path, stride: int) -> None:
    made = crowds.write(tmp_path, [(30, 37), (61, 83), (9, 7)], ["train"] * 3)
    data = Prepared(made[0])
    training = Samples(data, Pack(made[1]), "train", stride=stride, crop=(64, 88))
    for batch, _ in training.batches(0, 3):
        assert batch.images.shape == (3, 3, 64, 88)
        people = [len(data.rows[crop.number].dots) for crop in batch.crops]
        assert [crop.annotation.sum().item() for crop in batch.crops] == pytest.approx(people, abs=1e-3)


def test_a_dot_on_the_edge_of_an_image_smaller_than_the_crop_stays_in_it(tmp_path) -> None:
    made = crowds.write(tmp_path, [(32, 40)], ["train"], people=1)
    data = Prepared(made[0])
    training = Samples(data, Pack(made[1]), "train", stride=8, crop=(64, 64))
    row = data.rows[0]._replace(dots=np.array([[40.0, 32.0]]))
    crop, _ = training._random_crop(row, np.random.default_rng(0))
    [(column, line)] = cells_of(crop.dots, crop.size, 8).tolist()
    assert (column, line) == (4, 3)
    assert crop.region[line, column] == 1


@pytest.mark.parametrize(
    "density_map",
    [
        {"kind": "mixture", "sigmas": [1, 8], "shares": [0, 1]},
        {"kind": "mixture", "sigmas": [1, 8], "shares": [1, 0]},
        {"kind": "kernel", "side": 9},
    ],
)
def test_no_density_map_puts_people_beside_an_image_that_is_smaller_than_the_crop(tmp_path, density_map) -> None:
    """One batch of an image that fills the crop and one that does not."""
    made = open_data(*crowds.write(tmp_path, [(64, 96), (32, 48)], ["train"] * 2))
    plan = crowds.plan(density_map, crop=[64, 96])
    model = assemble(plan, seed=0)
    for batch, _ in samples(plan, 0, made, model.stride)[0].batches(0, 2):
        people = torch.tensor([len(crop.dots) for crop in batch.crops], dtype=torch.float32)
        targets, annotations = model.target(batch.crops), model.annotation(batch.crops)
        for maps in (targets, annotations):
            torch.testing.assert_close(maps.sum(dim=(1, 2, 3)) / model.scale, people, rtol=1e-3, atol=1e-3)
        padding = [crop.number for crop in batch.crops].index(1)
        assert targets[padding, 0, 8:].abs().max() == targets[padding, 0, :, 12:].abs().max() == 0


def test_images_of_several_sizes_need_a_crop(tmp_path) -> None:
    made = open_data(*crowds.write(tmp_path, [(32, 32), (32, 40)], ["train"] * 2))
    with pytest.raises(UserError, match=r"2 sizes; set training\.crop"):
        samples(crowds.plan(), 0, made, 4)
    assert len(samples(crowds.plan(batch_size=1), 0, made, 4)[0]) == 2


def test_a_crop_that_cuts_cells_is_refused(made) -> None:
    with pytest.raises(UserError, match=r"multiples of the counter's stride, 8"):
        samples(crowds.plan(crop=[32, 36]), 0, made, 8)


def test_prefetching_yields_the_same_items_and_passes_errors_on() -> None:
    assert list(prefetch(iter(range(5)))) == [0, 1, 2, 3, 4]

    def failing():
        yield 1
        raise ValueError("the second")

    with pytest.raises(ValueError, match="the second"):
        list(prefetch(failing()))
