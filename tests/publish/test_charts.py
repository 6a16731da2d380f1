"""Pages of maps, curves and searches: what is drawn of odd results, and titles as people write them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
from PIL import Image

from components.evaluation.score import Score
from components.evaluation.scores import stack_scores
from components.publish import charts, figures, report
from components.publish.report import Report, Section
from components.publish.style import drawing
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
    charts.search(trials(tmp_path / "search"), tmp_path / "search.png")
    with Image.open(tmp_path / "search.png") as page:
        assert page.width > page.height


def test_numbers_along_a_dimension_of_a_search_stand_apart(tmp_path):
    rates = pa.table({"lr": [7.04e-05, 2.69e-04, 1.1e-04], "val_mae": [88.0, 86.3, 87.0]})
    with drawing(tmp_path / "rates.png", 1, 1, 3.1, 2.6) as (figure, grid):
        charts._dimension(grid[0][0], rates, "lr")
        figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in grid[0][0].get_xticklabels() if label.get_visible()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_a_title_with_dollar_signs_is_drawn_as_it_is_written(tmp_path):
    scores = stack_scores({0: [Score("a", 3.0, 2.0, (1.0, 1.0, 1.0, 1.0)), Score("b", 5.0, 5.0, (0.0, 0.0, 0.0, 0.0))]})
    charts.scatter({r"$\frac{$ for \$5": scores}, tmp_path / "scatter.png")
    assert (tmp_path / "scatter.png").exists()


def test_what_people_write_stays_text_in_html(tmp_path):
    text = "<img src=x onerror=alert(1)>"
    report.write(Report(text, text, text, (Section(text, text, tables=(AWKWARD,), code=text),)), tmp_path / "r.html")
    tags = Tags((tmp_path / "r.html").read_text())
    assert {"img", "script"}.isdisjoint(tags.names)
    assert "table" in tags.names
