"""Pages of maps, curves and searches: what is drawn of odd results, and titles as people write them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageColor

from components.evaluation.score import Score
from components.evaluation.scores import stack_scores
from components.publish import charts, figures, report
from components.publish.report import Report, Section
from components.publish.style import DARK, LIGHT, drawing
from tests.publish.test_publish import Tags, trials
from tests.publish.test_tables import AWKWARD


def test_a_page_shows_maps_without_people_too(tmp_path):
    empty, image = np.zeros((6, 8)), np.full((24, 32, 3), 200, np.uint8)
    figures.predictions([("none", image, empty, empty), ("one", image, empty + 1 / 48, empty)], tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as page:
        assert page.width > 900
        assert len(np.unique(np.asarray(page.convert("L")))) > 50


def test_curves_leave_out_epochs_without_validation_and_are_drawn_alike_each_time(tmp_path):
    head = "epoch,counting_loss,refinement_loss,val_mae"
    (tmp_path / "metrics.csv").write_text(f"{head}\n1,5.0,,\n2,4.0,,9.5\n3,2.0,,\n")
    history = figures.read_metrics(tmp_path / "metrics.csv")
    assert np.isnan(history["val_mae"]).tolist() == [True, False, True]
    for name in ("first.png", "second.png"):
        figures.curves(tmp_path / "metrics.csv", tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_a_search_with_a_failed_trial_is_drawn(tmp_path):
    charts.search(trials(tmp_path / "search"), {"alpha"}, tmp_path / "search.png")
    with Image.open(tmp_path / "search.png") as page:
        assert page.width > page.height


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [
        ([7.04e-05, 2.69e-04, 1.1e-04], False),
        ([7.04e-05, 2.69e-04, 1.1e-04], True),
        ([1.0, 900.0, 30.0], True),
        ([1e-5, 1e-1, 3e-3], True),
    ],
)
def test_numbers_along_a_dimension_of_a_search_stand_apart(tmp_path, values, logarithmic):
    trials = pa.table({"lr": values, "val_mae": [88.0, 86.3, 87.0]})
    with drawing(tmp_path / "rates.png", 1, 1, 3.1, 2.6) as (figure, [[axes]]):
        charts._dimension(axes, trials["lr"], trials["val_mae"], logarithmic)
        figure.draw_without_rendering()
        shown = [label for label in axes.get_xticklabels() if label.get_visible() and label.get_text()]
        boxes = [label.get_window_extent() for label in shown]
    assert axes.get_xscale() == ("log" if logarithmic else "linear")
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert not any("mathdefault" in label.get_text() for label in shown)
    low, high = axes.get_xlim()
    assert sum(low <= tick <= high for tick in axes.get_xticks()) >= 2


@pytest.mark.parametrize(
    ("densities", "scale"), [([20, 30, 90], "linear"), ([2, 30, 900], "log"), ([0, 30, 900], "symlog")]
)
def test_densities_that_span_decades_stand_on_a_logarithmic_axis_and_empty_images_too(densities, scale):
    axes = Figure().subplots()
    charts._density_axis(axes, np.array(densities, float))
    assert axes.get_xscale() == scale
    assert axes.get_xlim()[0] < densities[0]


def test_errors_are_averaged_in_fifths_of_the_images_by_density():
    density, error = np.array([50.0, 10, 40, 20, 30, 60, 5, 15, 25, 35]), np.arange(10.0)
    at, mean = charts.fifths(density, error)
    assert at.tolist() == [7.5, 17.5, 27.5, 37.5, 55.0]  # 5 and 10, 15 and 20, ...
    assert mean.tolist() == [3.5, 5.0, 6.0, 5.5, 2.5]
    assert len(charts.fifths(density[:3], error[:3])[0]) == 3


def test_a_dark_figure_differs_in_its_ground_and_not_in_its_size(tmp_path):
    scores = stack_scores({0: [Score("a", 3.0, 2.0, (1.0,) * 4), Score("b", 5.0, 5.0, (0.0,) * 4)]})
    charts.errors({"x": scores}, {"x": np.array([1.0, 2.0])}, tmp_path / "light.png", tmp_path / "dark.png")
    with Image.open(tmp_path / "light.png") as light, Image.open(tmp_path / "dark.png") as dark:
        assert light.size == dark.size
        seen = [{colour for _, colour in image.convert("RGB").getcolors(1 << 24)} for image in (light, dark)]
        corners = [image.convert("RGB").getpixel((0, 0)) for image in (light, dark)]
    assert corners == [ImageColor.getrgb(theme.ground) for theme in (LIGHT, DARK)]
    used = ("axes", "grid", "ground")
    for theme, colours in zip((LIGHT, DARK), seen, strict=True):
        assert {ImageColor.getrgb(getattr(theme, name)) for name in used} < colours
    assert not {ImageColor.getrgb(colour) for colour in (LIGHT.ground, LIGHT.data[0])} & seen[1]


def test_a_title_with_dollar_signs_is_drawn_as_it_is_written(tmp_path):
    scores = stack_scores({0: [Score("a", 3.0, 2.0, (1.0, 1.0, 1.0, 1.0)), Score("b", 5.0, 5.0, (0.0, 0.0, 0.0, 0.0))]})
    charts.scatter({r"$\frac{$ for \$5": scores}, tmp_path / "scatter.png")
    assert (tmp_path / "scatter.png").exists()


def test_what_people_write_stays_text_in_html(tmp_path):
    text = "</script><img src=x onerror=alert(1)>"
    report.write(Report(text, text, text, (Section(text, text, tables=(AWKWARD,), code=text),)), tmp_path / "r.html")
    tags = Tags((tmp_path / "r.html").read_text())
    assert "img" not in tags.names
    assert tags.names.count("script") == 1  # the page's own
    assert "table" in tags.names
