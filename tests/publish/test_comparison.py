"""Two experiments side by side: what differs is found, errors are paired, and images are in the order of their gaps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from components.errors import UserError
from components.publish.comparison import compare_experiments, findings, read_evaluated, write_page
from components.publish.tables import EstimateCell
from tests import projects
from tests.publish.test_publish import STUDY, Tags


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """The two experiments `fixed` and `refined` of a made study, with seeds 3 and 5, on a made crowd."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        projects.run_study(STUDY)
        return Path.cwd()


@pytest.fixture
def compared(small: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(small)
    return compare_experiments(read_evaluated("small/fixed"), read_evaluated("small/refined"), times=100)


def test_settings_that_differ_are_listed_and_no_others(compared) -> None:
    listed = {key: (aspect, a, b) for aspect, key, a, b in compared.settings.rows}
    assert listed["density_map.kind"] == ("settings", "identity", "refined")
    assert listed["annotation.kind"] == ("settings", "fixed", "adaptive")
    assert listed["annotation.sigma"] == ("settings", "4.0", "-")
    assert not {key for key in listed if key.startswith(("counter", "training.", "hardware", "versions", "seed"))}


def test_the_difference_is_that_of_the_scores(compared) -> None:
    a, b = compared.first.scores, compared.second.scores
    gaps = np.abs(b.prediction - b.truth) - np.abs(a.prediction - a.truth)
    assert compared.difference.mae.value == pytest.approx(gaps.mean())
    assert set(compared.difference.by_seed) == {3, 5}
    np.testing.assert_allclose(compared.gaps, gaps.mean(axis=0))
    mae = [row[compared.metrics.head.index("MAE")] for row in compared.metrics.rows]
    assert all(isinstance(cell, EstimateCell) for cell in mae)
    assert mae[1].estimate.value - mae[0].estimate.value == pytest.approx(gaps.mean())


def test_images_come_in_the_order_of_their_gaps(compared) -> None:
    order = [compared.first.scores.ids[place] for place in np.argsort(-np.abs(compared.gaps))]
    assert [row[0] for row in compared.images.rows] == order[:10]


def test_an_experiment_compared_with_itself_does_not_differ(small: Path, monkeypatch) -> None:
    monkeypatch.chdir(small)
    same = compare_experiments(read_evaluated("small/fixed"), read_evaluated("small/fixed"), times=100)
    assert same.settings.rows == ()
    assert same.difference.mae == (0, 0, 0)
    assert "not beyond noise" in findings(same)


def test_programs_read_json(compared, typed) -> None:
    code, out, _ = typed("compare", "small/fixed", "small/refined", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["experiments"] == ["small/fixed", "small/refined"]
    assert document["differences"]["settings"]["density_map.kind"] == ["identity", "refined"]
    assert document["mae_difference"]["value"] == pytest.approx(compared.difference.mae.value)


def test_the_page_holds_tables_and_pictures(compared, tmp_path: Path) -> None:
    write_page(compared, tmp_path / "page.html")
    tags = Tags((tmp_path / "page.html").read_text())
    assert tags.names.count("table") == 3
    assert len(tags.images) == 1
    assert tags.images[0].startswith("data:image/webp;base64,")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("small", "write STUDY/EXPERIMENT"),
        ("small/none", "was not run and evaluated; there are: small/fixed, small/ref"),
    ],
)
def test_what_was_not_run_is_said_with_what_was(small: Path, monkeypatch, name: str, why: str) -> None:
    monkeypatch.chdir(small)
    with pytest.raises(UserError, match=why):
        read_evaluated(name)
