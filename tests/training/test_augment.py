"""Random changes to training images: dots, maps and regions follow the pixels, and every draw follows the sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from components.config.study import Augmentation
from components.data.manifest import Row
from components.density_maps.crops import annotation_maps
from components.density_maps.gaussian import draw
from components.errors import UserError
from components.training.assemble import open_data, samples
from components.training.augment import change_look, random_scale, resize
from tests import crowds

SCALED = {"scale": [0.8, 2.0]}
LOOK = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "grey": 0.2, "jpeg": 0.5}


def test_a_resized_image_takes_its_dots_along() -> None:
    """A white pixel under each dot is found again at the dot's new place."""
    pixels, dots = np.zeros((40, 60, 3), np.uint8), np.array([[10.5, 20.5], [50.5, 5.5]])
    for x, y in dots.astype(int):
        pixels[y, x] = 255
    row = Row(0, "made", "train", 40, 60, dots, perspective=np.array([3.0, 6.0]))
    resized, image = resize(row, pixels, 1.75)
    assert image.shape == (70, 105, 3) == (resized.height, resized.width, 3)
    np.testing.assert_allclose(resized.dots, dots * 1.75)
    np.testing.assert_allclose(resized.perspective, np.array([3.0, 6.0]) * 1.75)
    weight = image[..., 0].astype(float)
    columns = (np.arange(105) + 0.5) * weight
    left = slice(0, 60)
    assert columns[:, left].sum() / weight[:, left].sum() == pytest.approx(resized.dots[0, 0], abs=0.2)


def test_scales_lie_in_the_range_and_are_uniform_in_the_logarithm() -> None:
    options, random = Augmentation(scale=(0.5, 2.0)), np.random.default_rng(0)
    scales = np.array([random_scale(options, random) for _ in range(4000)])
    assert 0.5 <= scales.min() < 0.51 < 1.96 < scales.max() <= 2.0
    assert (scales < 1).mean() == pytest.approx(0.5, abs=0.03)


def test_maps_are_drawn_for_the_resized_image(made) -> None:
    """With the bandwidth in pixels of the resized image, and all its people in the whole map."""
    training = samples(crowds.plan(crop=[32, 48], augmentation=SCALED), 0, made, 4)[0]
    sizes = set()
    for batch, _ in training.batches(1, 2):
        for crop, drawn in zip(batch.crops, annotation_maps(batch.crops, 4), strict=True):
            row = made.prepared.rows[crop.number]
            factors = np.array([crop.size[1] / row.width, crop.size[0] / row.height])
            np.testing.assert_allclose(crop.dots.numpy(), row.dots * factors)
            assert crop.annotation.sum().item() == pytest.approx(len(row.dots), abs=1e-3)
            expected = draw(crop.dots, 4.0, crop.size, 4, crop.window)
            torch.testing.assert_close(drawn[0], expected, rtol=1e-4, atol=1e-5)
            assert crop.image is not None
            assert crop.image.shape[:2] == crop.size
            sizes.add(crop.size)
    assert len(sizes) > 2


def test_augmented_samples_do_not_depend_on_the_number_of_workers(made) -> None:
    plan = crowds.plan(crop=[32, 48], augmentation=SCALED | LOOK)
    training = samples(plan, 0, made, 4)[0]
    shares = [list(training.batches(2, 4, rank=rank, workers=2)) for rank in range(2)]
    for step, (whole, _) in enumerate(training.batches(2, 4)):
        parts = {id(c): image for share in shares if share[step][0] for c, image in _pairs(share[step][0])}
        assert {image.numpy().tobytes() for image in parts.values()} == {
            image.numpy().tobytes() for _, image in _pairs(whole)
        }


def _pairs(batch):
    return zip(batch.crops, batch.images, strict=True)


def test_the_look_changes_pixels_but_neither_crops_nor_scales(made) -> None:
    """The same crops, flips and scales with and without: methods stay paired whatever the look is."""
    plain, changed = (
        samples(crowds.plan(crop=[32, 48], augmentation=SCALED | look), 0, made, 4)[0] for look in ({}, LOOK)
    )
    for (a, _), (b, _) in zip(plain.batches(1, 2), changed.batches(1, 2), strict=True):
        assert [(c.window, c.size, c.flipped) for c in a.crops] == [(c.window, c.size, c.flipped) for c in b.crops]
        assert not torch.equal(a.images, b.images)
        assert a.images.shape == b.images.shape


def test_without_options_samples_are_as_they_were(made) -> None:
    plain, none = (samples(crowds.plan(crop=[32, 48], **o), 0, made, 4)[0] for o in ({}, {"augmentation": {}}))
    for (a, _), (b, _) in zip(plain.batches(1, 2), none.batches(1, 2), strict=True):
        assert torch.equal(a.images, b.images)


def _colour(image: np.ndarray) -> float:
    return float(np.ptp(image, axis=2).mean())


@pytest.mark.parametrize(
    ("option", "check"),
    [
        ("grey", lambda pixels, image: _colour(pixels) == 0),
        ("jpeg", lambda pixels, image: 0 < np.abs(pixels.astype(int) - image).mean() < 60),
        ("brightness", lambda pixels, image: abs(pixels.mean() / image.mean() - 1) > 0.001),
        ("contrast", lambda pixels, image: abs(pixels.std() / image.std() - 1) > 0.001),
        (
            "saturation",
            lambda pixels, image: abs(np.ptp(pixels, axis=2).mean() / np.ptp(image, axis=2).mean() - 1) > 0.001,
        ),
    ],
)
def test_each_option_changes_what_its_name_says(option: str, check) -> None:
    image = np.random.default_rng(1).integers(60, 190, (32, 48, 3)).astype(np.uint8)
    strength = 1.0 if option in ("grey", "jpeg") else 0.5
    changed = change_look(image, Augmentation.model_validate({option: strength}), np.random.default_rng(0))
    assert changed.shape == image.shape
    assert changed.dtype == np.uint8
    assert check(changed, image)


def test_a_scale_that_makes_every_image_smaller_than_the_crop_is_refused(made) -> None:
    with pytest.raises(UserError, match=r"scale: 0\.5 makes every image smaller .*crop, \[32, 48\]; raise .* to 0\.75"):
        samples(crowds.plan(crop=[32, 48], augmentation={"scale": [0.5, 1]}), 0, made, 4)


def test_images_that_may_become_smaller_than_the_crop_are_said(tmp_path: Path, caplog) -> None:
    made = crowds.write(tmp_path, [(48, 64), (64, 96), (40, 64)], ["train", "train", "train"])
    samples(crowds.plan(crop=[32, 48], augmentation={"scale": [0.7, 1]}), 0, open_data(*made), 4)
    (said,) = [record.message for record in caplog.records if "scale" in record.message]
    assert "scale: 0.7 makes 2 of 3 images smaller" in said


def test_scales_need_a_crop_or_single_images(made) -> None:
    with pytest.raises(UserError, match=r"augmentation\.scale: makes images of many sizes; set training\.crop"):
        samples(crowds.plan(augmentation=SCALED), 0, made, 4)
    assert samples(crowds.plan(augmentation=SCALED, batch_size=1), 0, made, 4)


def test_a_range_that_is_turned_round_is_refused() -> None:
    with pytest.raises(ValueError, match="smallest, largest"):
        Augmentation(scale=(2.0, 1.0))
