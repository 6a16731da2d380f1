"""A metric is one file: it appears in every table by itself, at its position and with its digits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.evaluation import metrics
from components.evaluation.metrics import all_metrics
from components.evaluation.scores import Scores
from components.evaluation.statistics import estimate
from components.publish import tables
from components.publish.results import EvaluatedRow
from components.publish.study_tables import results_table
from tests.conftest import ROOT
from tests.test_protocols import folds

MEDIAN = """
import numpy as np

POSITION, DIGITS, DESCRIPTION = 2.5, 2, "MedAE is the median of the absolute errors"
METRICS = {"MedAE": lambda scores: np.median(np.abs(scores.prediction - scores.truth), axis=-1)}
"""


@pytest.fixture
def median(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The package of metrics with one more file."""
    package = Path(metrics.__file__).parent
    for file in package.glob("*.py"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "median.py").write_text(MEDIAN)
    monkeypatch.setattr(metrics, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(metrics, "__path__", [str(tmp_path), *metrics.__path__])
    yield
    sys.modules.pop("components.evaluation.metrics.median", None)


def test_metrics_stand_in_the_order_of_their_positions() -> None:
    assert [*all_metrics()] == ["MAE", "RMSE", "NAE", "GAME(1)", "GAME(2)", "GAME(3)"]


@pytest.mark.usefixtures("median")
def test_a_new_file_is_a_new_column_in_the_tables_and_the_summary() -> None:
    scores = Scores(
        (0, 1), ("a", "b", "c"), np.array([10.0, 20, 30]), np.array([[11.0, 24, 30], [10, 22, 33]]), np.ones((2, 3, 4))
    )
    first = folds()[0]
    assert isinstance(first, EvaluatedRow)
    row = EvaluatedRow("one", first.experiment, "fixed", first.records, scores, estimate(scores, 100))
    table = results_table([], [row], 100)
    assert table.head[:5] == ("Experiment", "MAE", "RMSE", "MedAE", "NAE")
    assert str(table.rows[0][3]).startswith("1.50 [")
    assert "MedAE is the median of the absolute errors" in " ".join(table.notes)
    assert "MedAE" in tables.plain(table.choose("Experiment", *all_metrics()))
    assert "MedAE" in tables.comma_separated(table)


def test_test_images_without_people_are_counted_in_a_note_of_their_own() -> None:
    scores = Scores((0,), ("a", "b"), np.array([0.0, 20]), np.array([[1.0, 24]]), np.ones((1, 2, 4)))
    first = folds()[0]
    assert isinstance(first, EvaluatedRow)
    row = EvaluatedRow("one", first.experiment, "fixed", first.records, scores, estimate(scores, 100))
    assert "Test images without people: 1." in results_table([], [row], 100).notes


def test_training_reads_its_metrics_without_the_others() -> None:
    """Else a new metric would be code that every run depends on."""
    code = "import sys\nimport components.evaluation.metrics.mae, components.evaluation.metrics.rmse\n"
    code += "print([name for name in sys.modules if name.startswith('components.evaluation.metrics.')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "['components.evaluation.metrics.mae', 'components.evaluation.metrics.rmse']\n"
