"""Figures 4 to 7 of the paper, of a small study made by the stages: which are there, and the numbers in them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from components.config.load import load_study
from components.crowd import Window
from components.density_maps.gaussian import draw
from components.publish.figures import Panel, Scale, _logarithmic, counted, page, signed, unsigned
from components.publish.pages import attention, generators, kernels, maps, predictions
from components.publish.pages.gallery import Gallery
from components.publish.results import evaluated
from components.publish.study_report import collect_rows
from components.stages.publish import publish
from components.workspace.layout import Layout
from tests import projects

GENERATED = {"kind": "generated", "sigmas": [1, 4], "warm_up": 1}
MIXTURE = {"kind": "mixture", "sigmas": [2, 8], "features": "dots_and_counter"}
LEARNED = GENERATED | {"kernels": "learned", "fusion": "naive"}


def experiment(title: str, **others: object) -> dict:
    return {"title": title, "dataset": "crowd", "counter": {"kind": "mcnn"}, "annotation": "near"} | others


STUDY = {
    "study": "figures",
    "title": "Figures",
    "datasets": {"crowd": {"source": {"kind": "synthetic", "images": 8, "height": 46, "width": 62, "seed": 0}}},
    "maps": {"near": {"dataset": "crowd", "kernel": {"kind": "fixed", "sigma": 4}}},
    "training": {"epochs": 1, "batch_size": 4},
    "experiments": {
        "dots": experiment("dots alone", loss={"kind": "bayesian"}),
        "beside-mcnn": experiment("generated beside MCNN", density_map=GENERATED),
        "beside-fcn": experiment("generated beside FCN", density_map=GENERATED, counter={"kind": "fcn"}),
        "learned": experiment("learned kernels", density_map=LEARNED),
        "mixture": experiment("mixture", density_map=MIXTURE),
        "grid": experiment("generated on the grid", density_map=GENERATED | {"resolution": "grid"}),
    },
    "publish": {"baseline": "dots", "bootstrap": 100},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        _, layout = projects.run_study(STUDY)
        publish(layout)
        return Path.cwd()


def gallery(made: Path, monkeypatch, *names: str) -> Gallery:
    """What figures would look at in a study of these experiments alone, or of all."""
    monkeypatch.chdir(made)
    study, layout = load_study(Path("params/figures/study.yaml")), Layout("figures")
    rows = evaluated(collect_rows(study, layout))
    return Gallery(study, layout, [row for row in rows if row.name in (names or study.experiments)])


def test_all_figures_stand_in_the_report(made) -> None:
    folder = made / "out/figures/published/figures"
    files = {file.name for file in folder.glob("*.png")}
    assert files >= {"maps.png", "generators.png", "kernels.png", "attention.png", "predictions.png"}
    assert {file.name for file in (folder / "dark").iterdir()} == files
    text = (made / "out/figures/published/report.html").read_text()
    assert [f"figure {number} of Wan" in text for number in (4, 5, 6, 7)] == [True] * 4
    assert text.count("<picture>") == text.count("<source media") == len(files)


@pytest.mark.parametrize(
    ("names", "there"),
    [
        (["dots"], [0, 0, 0, 0]),
        (["beside-mcnn"], [1, 0, 0, 3]),
        (["beside-mcnn", "beside-fcn"], [1, 1, 0, 3]),
        (["beside-fcn", "learned"], [1, 1, 2, 3]),
        (["learned"], [1, 0, 2, 0]),
        (["grid"], [1, 0, 0, 3]),
        (["mixture"], [1, 0, 0, 0]),
    ],
)
def test_a_figure_is_drawn_where_the_study_has_the_runs_for_it(made, monkeypatch, names, there) -> None:
    """Rows of figures 4, 5, 6 and 7."""
    seen = gallery(made, monkeypatch, *names)
    assert [len(figure.panels(seen)) for figure in (maps, generators, kernels, attention)] == there
    assert len(predictions.panels(seen)) >= 1


def test_an_experiment_on_dots_has_no_map_to_be_shown(made, monkeypatch) -> None:
    [row] = maps.panels(gallery(made, monkeypatch))
    assert [panel.title.split("\n")[0] for panel in row[1:]] == ["generated beside MCNN", "mixture"]


def test_the_shares_that_a_mixture_learned_are_a_note_to_be_copied(made) -> None:
    text = (made / "out/figures/published/tables/results.md").read_text()
    [note] = re.findall(r"mixture: density map .*; mean shares learned, seed 0: \[([\d., ]+)\]", text)
    shares = [float(share) for share in note.split(", ")]
    assert len(shares) == 2
    assert sum(shares) == pytest.approx(1, abs=1e-3)


def test_maps_are_compared_on_the_coarser_grid_with_all_their_people() -> None:
    fine, coarse = np.random.default_rng(0).random((12, 15)), np.random.default_rng(1).random((6, 8))
    one, two = generators.on_one_grid(fine, coarse, (4, 8))
    assert one.shape == two.shape == (6, 8)
    assert one[2, 3] == pytest.approx(fine[4, 6] + fine[4, 7] + fine[5, 6] + fine[5, 7])
    assert (one - two).sum() == pytest.approx(fine.sum() - coarse.sum())
    assert np.array_equal(generators.on_one_grid(coarse, fine, (8, 4))[1], one)


def test_a_difference_is_that_of_the_two_maps_beside_it_on_a_scale_centred_on_zero(made, monkeypatch) -> None:
    [[_, first, second, difference]] = generators.panels(gallery(made, monkeypatch))
    np.testing.assert_array_equal(difference.pixels, first.pixels - second.pixels)
    assert difference.scale.high == -difference.scale.low == np.abs(difference.pixels).max()
    assert [panel.title.split("\n")[0] for panel in (first, second)] == [
        "generated beside MCNN",
        "generated beside FCN",
    ]


def test_attention_sums_to_one_and_shares_out_the_blurred_maps(made, monkeypatch) -> None:
    seen = gallery(made, monkeypatch)
    each, row, window = seen.generators(fusion="self_attention")[0], seen.median, Window(8, 16, 24, 32)
    inside = attention.inspect(seen, each, row, window)
    np.testing.assert_allclose(inside.shares.sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_array_equal(inside.after, inside.shares * inside.before)
    for sigma, blurred in zip((1.0, 4.0), inside.before, strict=True):
        drawn = draw(torch.from_numpy(row.dots), sigma, (row.height, row.width), side=1, window=window)
        np.testing.assert_allclose(blurred, drawn, atol=1e-6)
    np.testing.assert_allclose(inside.fused, seen.target(each, row)[2:8, 4:12], atol=1e-5)


def test_attention_in_a_window_is_that_of_the_whole_image(made, monkeypatch) -> None:
    seen = gallery(made, monkeypatch)
    each = seen.generators(fusion="self_attention")[0]
    part = attention.inspect(seen, each, seen.median, Window(8, 16, 24, 32))
    all_of_it = attention.inspect(seen, each, seen.median, Window(0, 0, 48, 64))
    np.testing.assert_allclose(part.shares, all_of_it.shares[:, 8:32, 16:48], atol=1e-6)


def test_attention_on_the_counters_grid_is_shown_on_its_cells(made, monkeypatch) -> None:
    seen = gallery(made, monkeypatch, "grid")
    [each], row, window = seen.generators(fusion="self_attention"), seen.median, Window(8, 16, 24, 32)
    inside = attention.inspect(seen, each, row, window)
    assert inside.shares.shape == inside.before.shape == (2, 6, 8)
    np.testing.assert_allclose(inside.shares.sum(axis=0), 1, rtol=1e-5)
    drawn = draw(torch.from_numpy(row.dots), 4.0, (row.height, row.width), side=4, window=window)
    np.testing.assert_allclose(inside.before[1], drawn, atol=1e-5)
    np.testing.assert_allclose(inside.fused, seen.target(each, row)[2:8, 4:12], atol=1e-5)
    [_, before, _] = attention.panels(seen)
    assert before[1].title.endswith("per 4 px cell")


def test_the_part_shown_is_the_most_crowded_one() -> None:
    dots = np.array([[500.0, 300.0]] * 3 + [[10.0, 10.0]] * 2 + [[450.0, 200.0]])
    window = attention.crowded(dots, (400, 600), 8)
    assert (window.height, window.width) == (128, 128)
    held = (dots >= (window.left, window.top)) & (dots < (window.left + 128, window.top + 128))
    assert held.all(axis=1).tolist() == [True] * 3 + [False] * 2 + [True]
    assert attention.crowded(dots[3:5], (30, 50), 8) == Window(0, 0, 32, 56)


def test_kernels_start_as_gaussians_and_end_as_they_were_learned(made, monkeypatch) -> None:
    seen = gallery(made, monkeypatch)
    [each] = seen.generators(kernels="learned")
    start, end = kernels.initial(each), kernels.final(each)
    steps = np.arange(25) - 12
    sampled = np.exp(-(steps[:, None] ** 2 + steps**2) / 32)
    np.testing.assert_allclose(start[1], sampled / sampled.sum(), atol=2e-4)
    np.testing.assert_array_equal(end, each.generator.kernels.weights.detach().numpy() / 100)
    assert np.abs(end - start).max() > 1e-7
    first, last = kernels.panels(seen)
    assert [panel.pixels.shape for panel in last[:2]] == [(25, 25)] * 2
    np.testing.assert_array_equal(first[0].pixels, start[0])


def test_scales_reach_as_far_as_their_maps() -> None:
    below, above = np.array([[-3.0, 1.0]]), np.array([[2.0, 0.0]])
    assert unsigned([below, above], "people")[1:] == (0, 2, "people")
    assert signed([below, above])[1:3] == (-3, 3)


def test_titles_are_wrapped_and_a_page_holds_several_scales(tmp_path) -> None:
    density, title = np.eye(6), "a title of an experiment that is much longer than its panel is wide"
    row = [
        Panel(title, density),
        Panel("share", density, Scale("viridis", 0, 1, "share")),
        Panel("own", -density, signed([density])),
    ]
    page([row, row], tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as image:
        assert image.width > image.height


def test_a_page_of_maps_below_zero_is_drawn(tmp_path: Path) -> None:
    """What an untrained counter predicts, or the paper's generator makes of its biases."""
    haze = np.full((4, 6), -0.5)
    page([[Panel("haze", haze, unsigned([haze])), counted("haze", haze)]], tmp_path / "haze.png")
    assert (tmp_path / "haze.png").stat().st_size > 1000


def test_a_logarithmic_axis_keeps_its_numbers_however_far_it_reaches() -> None:
    """Naive fusion's second loss is rounding alone, twelve decades below the others'."""
    axes = Figure().subplots()
    axes.plot([1, 2], [1e5, 1e-7])
    _logarithmic(axes)
    low, high = axes.get_ylim()
    assert low > 1e-2
    assert sum(low <= tick <= high for tick in axes.get_yticks()) >= 4
