"""ZIP against distributions of scipy and sums by hand, at extremes, at borders, and on an image that it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax
from scipy.stats import poisson
from torch import Tensor, nn

from components.crowd import Window, block_sums
from components.errors import UserError
from components.losses.zip import multi_scale_error, zero_inflated_poisson
from tests.losses.test_losses import PEOPLE, SIZE, crops, loss

WEIGHTS = ("likelihood", "classification", "blocks", "count")


def only(term: str, **options: object):
    """The loss with one of its terms."""
    return loss("zip", **(dict.fromkeys(WEIGHTS, 0) | {term: 1} | options))


def block_means(outputs: Tensor, side: int) -> np.ndarray:
    """Outputs (1, C, h, w) averaged over blocks of side x side cells, of which the last may be cut off."""
    values = outputs[0].double().numpy()
    rows, columns = (range(0, length, side) for length in values.shape[1:])
    return np.array([[values[:, y : y + side, x : x + side].mean(axis=(1, 2)) for x in columns] for y in rows])


def by_hand(outputs: Tensor, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """pi, lambda and the bins' probabilities of each block, for the default bins."""
    means = block_means(outputs, side)
    bins = softmax(means[..., 2:], axis=-1)
    return softmax(means[..., :2], axis=-1)[..., 0], bins @ np.array([1, 2, 3, 4, 5, 6, 9]), bins


def block_counts(dots: list, window: Window, block: int) -> np.ndarray:
    """Dots of a window on a grid of 4 px, in blocks of `block` px from its corner; the image ends at 64 x 48."""
    counts = np.zeros((math.ceil(window.height / block), math.ceil(window.width / block)))
    for x, y in dots:
        column, row = min(x // 4, 15) * 4 - window.left, min(y // 4, 11) * 4 - window.top
        if 0 <= row < window.height and 0 <= column < window.width:
            counts[int(row // block), int(column // block)] += 1
    return counts


@pytest.mark.parametrize("empty", [0.02, 0.5, 0.999])
@pytest.mark.parametrize("rate", [0.01, 1.0, 7.5])
def test_the_likelihood_is_that_of_a_mixture_with_zero(empty: float, rate: float) -> None:
    counts = np.arange(12)
    expected = np.log(empty * (counts == 0) + (1 - empty) * poisson.pmf(counts, rate))
    like = torch.ones(12, dtype=torch.float64)
    ours = zero_inflated_poisson(
        torch.from_numpy(counts).double(), math.log(empty) * like, math.log1p(-empty) * like, math.log(rate) * like
    )
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("side", [3, 7, 9, 11])
def test_a_block_of_any_side_holds_a_whole_number_of_people(side: int) -> None:
    maps = torch.zeros(1, 1, 2 * side, side)
    maps[0, 0, 1, 2], maps[0, 0, side:, 0] = 1, 1
    assert block_sums(maps, side).flatten().tolist() == [1, side]


@pytest.mark.parametrize("window", [Window(0, 0, *SIZE), Window(8, 16, 32, 40)], ids=["whole blocks", "cut off"])
def test_people_are_the_expected_counts_of_blocks_spread_over_their_cells(window: Window) -> None:
    """A block of which one half of the columns lies in the crop has half of its people there."""
    counted, outputs = loss("zip", scale=5.0), torch.randn(1, 9, window.height // 4, window.width // 4)
    empty, rate, _ = by_hand(outputs, 4)
    people = counted.people(outputs)[0, 0].numpy() / 5
    for (row, column), expected in np.ndenumerate((1 - empty) * rate):
        cells = people[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert cells == pytest.approx(expected / 16, rel=1e-5)
    if window.width == SIZE[1]:
        assert people.sum() == pytest.approx(((1 - empty) * rate).sum(), rel=1e-5)


@pytest.mark.parametrize("window", [Window(0, 0, *SIZE), Window(8, 16, 32, 40)], ids=["whole blocks", "cut off"])
def test_each_term_is_that_of_the_formula(window: Window) -> None:
    dots, height, width = [*PEOPLE, (41.0, 22.0), (42.0, 23.0), (22.0, 35.0)], window.height // 4, window.width // 4
    outputs = torch.randn(1, 9, height, width, dtype=torch.float64)
    empty, rate, bins = by_hand(outputs, 4)
    counts = block_counts(dots, window, 16)
    shares = np.minimum(1, (width - 4 * np.arange(counts.shape[1])) / 4) * np.ones_like(counts)
    assert (shares.min() < 1) == (window.width == 40)
    probability = empty * (counts == 0) + (1 - empty) * poisson.pmf(counts, shares * rate)
    classes = [(place, int(min(count, 7)) - 1) for place, count in np.ndenumerate(counts)]
    whole = [(place, label) for place, label in classes if label >= 0 and shares[place] == 1]
    errors = shares * (1 - empty) * rate - counts
    expected = {
        "likelihood": -np.log(probability).sum(),
        "classification": -sum(math.log(bins[place][label]) for place, label in whole),
        "blocks": sum(
            weight * sum(abs(part.sum()) / side**2 for part in squares(errors, side))
            for side, weight in ((1, 0.25), (2, 0.5), (4, 1))
        ),
        "count": abs(errors.sum()),
    }
    assert len(whole) > 1
    for term, value in expected.items():
        assert only(term)(outputs, None, crops(dots, window)).item() == pytest.approx(value, rel=1e-6), term
    total = loss("zip")(outputs, None, crops(dots, window)).item()
    assert total == pytest.approx(sum(expected.values()), rel=1e-6)


def squares(values: np.ndarray, side: int) -> list[np.ndarray]:
    """Squares of side x side values, the last of a row or a column cut off."""
    rows, columns = (range(0, length, side) for length in values.shape)
    return [values[y : y + side, x : x + side] for y in rows for x in columns]


def test_multi_scale_error_of_one_block_too_many() -> None:
    """1/4 for the block, 1/2 x 1/4 for its square of four, 1/16 for that of sixteen; opposite neighbours cancel."""
    errors = torch.zeros(1, 1, 5, 6)
    errors[0, 0, 4, 5] = -2
    assert multi_scale_error(errors).item() == pytest.approx(2 * (1 / 4 + 1 / 8 + 1 / 16))
    errors[0, 0, 4, 4] = 2
    assert multi_scale_error(errors).item() == pytest.approx(2 * 2 / 4)


def test_a_block_that_lies_partly_in_the_region_of_interest_has_a_part_of_the_rate() -> None:
    """Of whole blocks and cells of which a half lies inside alike; its bin is not known."""
    outputs, region = torch.randn(1, 9, 4, 8, dtype=torch.float64), torch.ones(1, 1, 4, 8, dtype=torch.float64)
    region[..., :2, :], region[..., :2] = 0.5, 0
    crop = crops([(14.0, 3.0), (20.0, 9.0), (25.0, 12.0)], Window(0, 0, 16, 32))
    empty, rate, _ = by_hand(outputs, 4)
    shares, counts = np.array([[3 / 8, 3 / 4]]), np.array([[1, 2]])
    probability = (1 - empty) * poisson.pmf(counts, shares * rate)
    ours = only("likelihood")(outputs, None, crop, region)
    assert ours.item() == pytest.approx(-np.log(probability).sum())
    inside = (loss("zip").people(outputs) / 40 * region).sum().item()
    assert only("count")(outputs, None, crop, region).item() == pytest.approx(abs(inside - 3))
    assert only("classification")(outputs, None, crop, region).item() == 0


@pytest.mark.parametrize("size", [1e3, 1e6])
@pytest.mark.parametrize("dots", [[], PEOPLE], ids=["none", "six"])
def test_loss_and_gradient_stay_finite_for_logits_of_any_size(size: float, dots: list) -> None:
    for channel in range(9):
        outputs = torch.randn(1, 9, 12, 16)
        outputs[:, channel] += size
        outputs.requires_grad_()
        value = loss("zip")(outputs, None, crops(dots))
        value.sum().backward()
        assert value.isfinite().all()
        assert outputs.grad is not None
        assert outputs.grad.isfinite().all()


def test_gradient_is_right() -> None:
    counted, dots = loss("zip", block=8), crops(PEOPLE, Window(8, 4, 16, 20))
    outputs = torch.randn(1, 9, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda each: counted(each, None, dots), outputs)


def test_without_people_the_least_loss_is_certainty_that_blocks_are_empty() -> None:
    outputs = torch.zeros(1, 9, 12, 16)
    undecided = only("likelihood")(outputs, None, crops([])).item()
    assert undecided == pytest.approx(-12 * (logsumexp([0, -30 / 7]) - math.log(2)), rel=1e-5)
    outputs[:, 0] = 50
    assert loss("zip")(outputs, None, crops([])).item() == pytest.approx(0, abs=1e-9)
    assert loss("zip").people(outputs).sum().item() == pytest.approx(0, abs=1e-9)


def test_a_counter_learns_one_image_by_heart() -> None:
    """A convolution on features that tell blocks apart: each block's count, and so the image's."""
    dots = [*PEOPLE[:4], (42.0, 22.0), (43.0, 23.0), (30.5, 3.0)]
    features, network = torch.randn(1, 12, 3, 4).repeat_interleave(4, 2).repeat_interleave(4, 3), nn.Conv2d(12, 9, 1)
    optimiser, counted = torch.optim.Adam(network.parameters(), lr=0.1), loss("zip")
    slower = torch.optim.lr_scheduler.LinearLR(optimiser, 1, 0.01, total_iters=600)
    for _ in range(600):
        optimiser.zero_grad()
        counted(network(features), None, crops(dots)).sum().backward()
        optimiser.step()
        slower.step()
    people = counted.people(network(features))[0, 0].detach() / 40
    found = people.reshape(3, 4, 4, 4).sum(dim=(1, 3)).numpy()
    np.testing.assert_allclose(found, block_counts(dots, Window(0, 0, *SIZE), 16), atol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": [2, 3], "centres": [2, 3]}, r"bins: \[2, 3\] must begin with 1 and ascend"),
        ({"bins": [1, 3, 3], "centres": [1, 3, 3]}, r"bins: \[1, 3, 3\] must begin with 1 and ascend"),
        ({"bins": [1, 2]}, r"centres: .* must be as many as bins, 2"),
        ({"bins": [1, 3], "centres": [2.5, 4]}, r"centres: 2\.5 must lie in its bin, from 1 to 2"),
        ({"block": 6}, r"loss\.block: 6 must be a multiple of the counter's stride, 4"),
    ],
)
def test_bins_and_blocks_that_do_not_fit_are_named(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        loss("zip", **options)
