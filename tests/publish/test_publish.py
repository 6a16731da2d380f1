"""Evaluation, tables and the report of a small study: whole, half run, and of results that were cut off."""

from __future__ import annotations

import csv
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.config.load import load_study
from components.errors import UserError
from components.evaluation.scores import read_cost, read_scores
from components.publish import study_tables
from components.publish.results import CPU_SECONDS, PARAMETERS
from components.publish.study_report import collect_rows
from components.stages.publish import preview, publish
from components.training.ray_tune import TrialResult, write_trials
from components.workspace.layout import Layout, SearchPaths
from tests import projects

COMMON = {"dataset": "crowd", "counter": {"kind": "mcnn"}, "seeds": [3, 5]}
STUDY = {
    "study": "small",
    "title": "A <small> study",
    "datasets": {"crowd": {"source": {"kind": "synthetic", "images": 12, "height": 48, "width": 64, "seed": 0}}},
    "maps": {
        "near": {"dataset": "crowd", "kernel": {"kind": "fixed", "sigma": 4}},
        "adaptive": {"dataset": "crowd", "kernel": {"kind": "adaptive"}},
    },
    "training": {"epochs": 1, "batch_size": 4},
    "experiments": {
        "fixed": COMMON | {"title": "fixed", "annotation": "near", "published": "fixed_4"},
        "refined": COMMON
        | {
            "title": "refined & co",
            "annotation": "adaptive",
            "density_map": {"kind": "refined", "widths": [4, 4, 4, 4, 4]},
            "published": "refined",
        },
    },
    "searches": {"betas": {"experiment": "refined", "space": {"density_map.alpha": {"uniform": [0, 1]}}}},
    "publish": {"baseline": "fixed", "bootstrap": 100, "compared": {"refined": ["fixed"]}},
}


def trials(folder: Path) -> Path:
    """What the search stage writes: a range, choices that repeat, choices that have no order, and a failed trial."""
    made = [
        TrialResult(0, "completed", 4, 9.0, 3.0, {"alpha": 0.01, "widths": 1, "optimiser": {"lr": 1.0}}),
        TrialResult(1, "failed", 0, math.nan, 0.0, {"alpha": 1.0, "widths": 1, "optimiser": {"lr": 1.0}}),
        TrialResult(2, "stopped early", 2, 7.5, 2.0, {"alpha": 3.0, "widths": 2, "optimiser": {"lr": 2.0}}),
    ]
    write_trials(SearchPaths(folder), "refined", made)
    return SearchPaths(folder).trials


class Tags(HTMLParser):
    """Names of the tags, and the addresses of images, of an HTML text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.images: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.images += [value for name, value in attrs if name == "src"]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A study made by the stages, in a folder of its own; training is one epoch of `fit` without Ray."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        _, layout = projects.run_study(STUDY)
        for name in STUDY["experiments"]:
            projects.change_record(layout, name, 5, "training_run", alarms=["flat maps"])
        trials(layout.search("betas").folder)
        publish(layout)
        return Path.cwd()


def test_evaluation_scores_every_test_image_with_every_seed(small):
    table = pq.read_table(small / "out/small/scores/fixed.parquet")
    scores = read_scores(small / "out/small/scores/fixed.parquet")
    assert table.num_rows == 2 * len(scores.ids)
    assert scores.seeds == (3, 5)
    manifest = pq.read_table(small / "out/small/prepared/crowd/manifest.parquet").to_pylist()
    assert dict(zip(scores.ids, scores.truth, strict=True)) == {
        row["id"]: len(row["x"]) for row in manifest if row["split"] == "test"
    }


def test_tables_of_a_study_agree_with_its_scores(small):
    folder = small / "out/small/published/tables"
    assert {path.suffix for path in folder.iterdir()} == {".md", ".csv", ".tex"}
    with (folder / "results.csv").open() as lines:
        rows = {row["Experiment"]: row for row in csv.DictReader(lines)}
    scores = pq.read_table(small / "out/small/scores/refined.parquet").to_pydict()
    errors = np.abs(np.subtract(scores["prediction"], scores["truth"]))
    assert float(rows["refined & co"]["MAE"]) == pytest.approx(errors.mean())
    assert rows["refined & co"]["Density map"] == "refined from adaptive"
    assert float(rows["refined & co"]["GAME(3)"]) == pytest.approx(np.mean(scores["game_3"]))


def test_notes_name_alarms_and_options_and_published_figures_keep_their_own_columns(small):
    folder = small / "out/small/published/tables"
    notes = (folder / "results.md").read_text()
    assert "collapse alarm, seed 5: flat maps" in notes
    assert "widths [4, 4, 4, 4, 4]" in notes
    with (folder / "published-comparison.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [row["MAE published, ShanghaiTech A"] for row in rows] == ["96.0", "96.7"]
    assert "for orientation only" in (folder / "published-comparison.md").read_text()


def test_a_study_on_a_published_data_set_shows_its_literature_and_its_columns_alone(small, monkeypatch):
    monkeypatch.chdir(small)
    study = load_study(Path("params/small/study.yaml"))
    found = collect_rows(study, Layout("small"))
    compared = study_tables.published_comparison_table(found, "shanghaitech-b")
    assert compared.head[3:] == (PARAMETERS, CPU_SECONDS, "MAE published, ShanghaiTech B")
    assert compared.rows[0][3] == "0.134"  # MCNN with three input channels: 133,705
    others = study_tables.published_table(found, "shanghaitech-b")
    assert others.head == ("Method", "Density map", "MAE", "RMSE", PARAMETERS, "Source", "Note")
    assert ("ZIP-P (2025)", "", "8.23", "-", "0.81", "EBC-ZIP bada31d", "") in others.rows
    [best] = [row for row in others.rows if row[0] == "ZIP-B (2025)"]
    assert best[2:6] == ("5.51", "8.63", "-", "EBC-ZIP 2025")
    assert best[6] == "three different networks, chosen on the test half about 4,700 times"
    assert {row[0] for row in others.rows if row[1]} == {"MCNN"}
    assert "None of these figures is measured here" in others.notes[0]


def test_what_counting_costs_is_measured_kept_with_the_scores_and_printed(small):
    cost = read_cost(small / "out/small/scores/fixed.parquet")
    assert 0 < cost.cpu_seconds < 5
    assert cost.megapixels == pytest.approx(48 * 64 / 1e6)
    with (small / "out/small/published/tables/results.csv").open() as lines:
        rows = {row["Experiment"]: row for row in csv.DictReader(lines)}
    assert rows["fixed"][CPU_SECONDS] == f"{cost.cpu_seconds:.2g}"
    assert rows["fixed"][PARAMETERS] == "0.134"
    report = (small / "out/small/published/report.html").read_text()
    assert f"{CPU_SECONDS}: processor time to count one test image" in report


def test_an_experiment_whose_cost_was_not_measured_shows_its_scores(copy):
    path = copy.scores("fixed")
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    preview(copy)
    assert float(results_of_preview(copy)["fixed"]) > 0
    with (copy.preview.tables / "results.csv").open() as lines:
        costs = {row["Experiment"]: row[CPU_SECONDS] for row in csv.DictReader(lines)}
    assert costs["fixed"] == "-"
    assert float(costs["refined & co"]) > 0


def test_the_report_holds_all_it_shows(small):
    text = (small / "out/small/published/report.html").read_text()
    tags = Tags(text)
    assert tags.names.count("picture") == 6
    assert all(address.startswith("data:image/webp;base64,") for address in tags.images)
    assert {"link", "iframe"}.isdisjoint(tags.names)
    assert "A &lt;small&gt; study" in text
    assert "Search: betas" in text


def test_the_worst_images_are_those_of_the_best_experiment_in_the_order_of_their_errors(small):
    text = (small / "out/small/published/report.html").read_text()
    with (small / "out/small/published/tables/results.csv").open() as lines:
        best = min(csv.DictReader(lines), key=lambda row: float(row["MAE"]))["Experiment"]
    name = {"fixed": "fixed", "refined & co": "refined"}[best]
    rows = pq.read_table(small / f"out/small/scores/{name}.parquet").to_pylist()
    errors = {row["id"]: row["prediction"] - row["truth"] for row in rows if row["seed"] == 3}
    order = sorted(errors, key=lambda id: -abs(errors[id]))
    found = re.findall(r"<strong>(.*?)</strong> (.*?) people; peak", text)
    assert found == [(id, f"{errors[id]:+.1f}".replace("-", "−")) for id in order]
    assert len(re.findall('<img class="map"', text)) == 2 * len(order)


def test_publishing_again_gives_the_same_bytes(small, monkeypatch):
    monkeypatch.chdir(small)
    layout = Layout("small")
    before = (layout.published / "report.html").read_bytes()
    publish(layout)
    assert (layout.published / "report.html").read_bytes() == before


def test_publishing_what_was_not_evaluated_says_what_to_do(small, monkeypatch, tmp_path):
    shutil.copytree(small / "params", tmp_path / "params")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"out/small: Not run: fixed; refined & co\. Run `dotfield run small`"):
        publish(Layout("small"))


def test_a_further_baseline_is_compared_with_the_experiments_named_beside_it(small):
    """The second comparison is the first one turned round."""
    with (small / "out/small/published/tables/comparisons.csv").open() as lines:
        first, second = csv.DictReader(lines)
    assert (first["Baseline"], second["Baseline"]) == ("fixed", "refined & co")
    gap = "MAE minus baseline's"
    assert float(second[gap]) == pytest.approx(-float(first[gap]))
    assert float(second[gap + " low"]) == pytest.approx(-float(first[gap + " high"]))


@pytest.fixture
def copy(small, monkeypatch, tmp_path) -> Layout:
    """The small study in a folder of its own, to take something away."""
    shutil.copytree(small, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return Layout("small")


def results_of_preview(layout: Layout) -> dict[str, str]:
    """MAE of every experiment, in the preview."""
    with (layout.preview.tables / "results.csv").open() as lines:
        return {row["Experiment"]: row["MAE"] for row in csv.DictReader(lines)}


def test_what_was_not_run_is_said_and_in_no_figure_and_the_pipelines_output_stays(copy):
    before = {path: path.read_bytes() for path in copy.published.rglob("*.*")}
    copy.scores("refined").unlink()
    summary = preview(copy)
    found = results_of_preview(copy)
    assert found["refined & co"] == "not run"
    assert float(found["fixed"]) > 0
    assert "Not run: refined & co." in summary
    text = copy.preview.report.read_text()
    assert Tags(text).names.count("picture") == 6
    assert not (copy.preview.tables / "comparisons.md").exists()
    assert "off by" in text
    assert {path: path.read_bytes() for path in copy.published.rglob("*.*")} == before


def test_without_the_baseline_nothing_is_compared(copy):
    shutil.rmtree(copy.run("fixed", 5).folder)
    preview(copy)
    assert results_of_preview(copy)["fixed"] == "not run"
    text = copy.preview.report.read_text()
    assert "The baseline (fixed) was not run, so nothing is compared with it. Not run: fixed." in text
    assert "Paired comparison" not in text


def test_runs_with_other_options_than_the_study_has_now_count_as_not_run(copy):
    copy.params.write_text(copy.params.read_text().replace("sigma: 4", "sigma: 5"))
    preview(copy)
    assert results_of_preview(copy)["fixed"] == "not run"
    with pytest.raises(UserError, match=r"Not run: fixed\. Run `dotfield run small`"):
        publish(copy)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("runs/fixed/seed-3/run.json", r"run\.json: is damaged"),
        ("runs/fixed/seed-3/best.safetensors", r"best\.safetensors: is damaged .*; train the run again"),
        ("scores/fixed.parquet", r"fixed\.parquet: is not whole; remove it"),
        ("prepared/crowd/manifest.parquet", r"manifest\.parquet: is not whole; remove it"),
        ("prepared/crowd/images/data.npy", r"images: is not whole .*; run the stage"),
    ],
)
def test_a_result_that_was_cut_off_is_named(small, monkeypatch, tmp_path, file, said):
    shutil.copytree(small, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    damaged = Path("out/small") / file
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    with pytest.raises(UserError, match=said):
        publish(Layout("small"))
