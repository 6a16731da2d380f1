"""Tables in every format, published figures against the paper's print, figures and a whole report of a small study."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from components.evaluation import scored
from components.evaluation.metrics import Difference, Estimate
from components.evaluation.score import Score
from components.options import Choice
from components.params import load_study
from components.publish import charts, contents, figures, published, report, results, tables
from components.publish.report import Report, Section
from components.publish.style import drawing
from components.publish.tables import Measured, Table
from components.stages import prepare
from components.stages._layout import Layout
from components.stages._record import data_files, record
from components.stages.evaluate import evaluate
from components.stages.publish import look, publish
from components.stages.rasterize import rasterize
from components.stages.search import _write as write_search
from components.stages.so_far import publish_so_far
from components.training import runs
from components.training.fit import fit
from components.training.plan import assemble, plan, samples
from components.training.search import TrialResult

AWKWARD = Table(
    "awkward",
    "50 % of a_b & c",
    ("Name", "MAE"),
    (("a|b_{c} <script>", Measured(Estimate(12.345, 1.0, 20.0))), ("\\none ~ $5^2 #1", "-")),
    ("100 % sure",),
)
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


def test_markdown_keeps_cells_apart():
    lines = tables.markdown(AWKWARD).splitlines()
    assert lines[4] == r"| a\|b_{c} <script> | 12.3 [1.0, 20.0] |"
    assert lines[-1] == "- 100 % sure"
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines[2:6]} == {3}


def test_csv_holds_value_low_and_high_unrounded():
    rows = list(csv.DictReader(io.StringIO(tables.comma_separated(AWKWARD))))
    assert rows[0] == {"Name": "a|b_{c} <script>", "MAE": "12.345", "MAE low": "1.0", "MAE high": "20.0"}
    assert rows[1] == {"Name": "\\none ~ $5^2 #1", "MAE": "-", "MAE low": "", "MAE high": ""}


def test_latex_is_escaped_and_in_booktabs():
    text = tables.latex(AWKWARD)
    assert r"a|b\_\{c\} <script> & 12.3 [1.0, 20.0] \\" in text
    assert r"\textbackslash{}none \textasciitilde{} \$5\textasciicircum{}2 \#1 & - \\" in text
    assert r"\caption{50 \% of a\_b \& c}" in text
    assert [rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [True] * 3


def test_a_row_of_latex_that_begins_with_a_bracket_is_no_option_of_the_row_above():
    table = Table("t", "c", ("a", "b"), (("x", "y"), ("[2 cm]", "z"), ("*", "z")))
    assert r"{}[2 cm] & z \\" in tables.latex(table).splitlines()
    assert r"{}* & z \\" in tables.latex(table).splitlines()


def test_what_could_not_be_measured_is_a_dash():
    assert str(Measured(Estimate(math.nan, math.nan, math.nan), digits=3)) == "- [-, -]"


def test_signed_differences_show_their_sign():
    assert str(Measured(Estimate(0.25, -1.0, 1.5), digits=2, signed=True)) == "+0.25 [-1.00, +1.50]"


@pytest.mark.parametrize(
    ("section", "counter", "key", "expected"),
    [
        ("shanghaitech-a", "mcnn", "generator", [93.5]),
        ("shanghaitech-a", "csrnet", "refined", [64.2]),
        ("shanghaitech-b", "csrnet", "generator", [8.1]),
        ("shanghaitech-b", "mcnn", "fixed_16", [17.3, 18.7]),  # tables 2 and 3 disagree
        (None, "mcnn", "fixed_4", [96.0, 17.9]),  # both parts
        ("shanghaitech-b", "mcnn", None, []),
    ],
)
def test_published_cells_are_those_the_paper_prints(section, counter, key, expected):
    assert [row.mae for row in published.beside(section, counter, key)] == expected


def test_every_published_figure_has_a_source_and_the_methods_are_all_there():
    rows = published.rows()
    assert all(row.source and row.mae > 0 for row in rows)
    found = {(row.section, row.table): (row.mae, row.rmse) for row in rows if row.method == "Density map generation"}
    assert found == {
        ("shanghaitech-a", "table 7"): (64.7, 97.1),
        ("shanghaitech-b", "table 8"): (8.1, 13.6),
        ("ucf-qnrf", "table 9"): (101, 176),
        ("worldexpo", "table 10"): (9.5, None),
    }


def test_the_average_of_a_row_of_worldexpo_is_that_of_its_scenes():
    rows = {row.method: row for row in published.section("worldexpo")}
    generation = rows["Density map generation"]
    assert np.mean(generation.scenes) == pytest.approx(generation.mae, abs=0.05)


def test_an_unknown_section_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"no section 'mars'; it has .*shanghaitech-a"):
        published.section("mars")


@pytest.mark.parametrize(
    ("interval", "seeds", "said"),
    [
        ((-3, -5, -1), 3, "yes: fewer errors"),
        ((3, 1, 5), 3, "yes: more errors"),
        ((-3, -5, 1), 3, "no: the interval holds 0"),
        ((-3, -5, -1), 1, "no: one seed cannot tell"),
    ],
)
def test_a_verdict_is_read_off_the_interval(interval, seeds, said):
    assert results.verdict(Difference(Estimate(*interval), dict.fromkeys(range(seeds), 0.0))) == said


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


def trials(folder: Path) -> Path:
    """What the search stage writes: a range, choices that repeat, choices that have no order, and a failed trial."""
    made = [
        TrialResult(0, "completed", 4, 9.0, 3.0, {"alpha": 0.01, "widths": 1, "optimiser": {"lr": 1.0}}),
        TrialResult(1, "failed", 0, math.nan, 0.0, {"alpha": 1.0, "widths": 1, "optimiser": {"lr": 1.0}}),
        TrialResult(2, "stopped early", 2, 7.5, 2.0, {"alpha": 3.0, "widths": 2, "optimiser": {"lr": 2.0}}),
    ]
    write_search(folder, "refined", made)
    return folder / "trials.parquet"


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
    scores = scored.gather(
        {0: [Score("a", 3.0, 2.0, (1.0, 1.0, 1.0, 1.0)), Score("b", 5.0, 5.0, (0.0, 0.0, 0.0, 0.0))]}
    )
    charts.scatter({r"$\frac{$ for \$5": scores}, tmp_path / "scatter.png")
    assert (tmp_path / "scatter.png").exists()


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


def test_what_people_write_stays_text_in_html(tmp_path):
    text = "<img src=x onerror=alert(1)>"
    report.write(Report(text, text, text, (Section(text, text, tables=(AWKWARD,), code=text),)), tmp_path / "r.html")
    tags = Tags((tmp_path / "r.html").read_text())
    assert {"img", "script"}.isdisjoint(tags.names)
    assert "table" in tags.names


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A study made by the stages, in a folder of its own; training is one epoch of `fit` without Ray."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        layout = Layout("small")
        layout.params.parent.mkdir(parents=True)
        layout.params.write_text(yaml.safe_dump(STUDY, sort_keys=False))
        study = load_study(layout.params)
        prepare.main(study, layout, "crowd")
        for name in study.maps:
            rasterize(study, layout, name)
        for name in study.experiments:
            _train(study, layout, name)
            evaluate(study, layout, name)
        trials(layout.search("betas"))
        publish(study, layout)
        return Path.cwd()


def _train(study, layout, name):
    resolved = plan(study, name)
    folders = layout.prepared("crowd"), layout.maps(study.experiments[name].annotation)
    for seed in study.experiments[name].seeds:
        model = assemble(resolved, seed)
        state = fit(
            model,
            *samples(resolved, seed, *folders, model.stride),
            resolved.training,
            report=lambda record, state: None,
        )
        written = record(resolved, seed, state, "its own initialisation", data_files(*folders), "64 x 48")
        runs.save(layout.run(name, seed), resolved, state, written | {"alarms": ["flat maps"] if seed == 5 else []})


def test_evaluation_scores_every_test_image_with_every_seed(small):
    table = pq.read_table(small / "out/small/scores/fixed.parquet")
    scores = scored.read(small / "out/small/scores/fixed.parquet")
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
    with (folder / "beside.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [row["MAE published, ShanghaiTech A"] for row in rows] == ["96.0", "96.7"]
    assert "for orientation alone" in (folder / "beside.md").read_text()


def test_a_study_on_a_published_data_set_shows_its_literature_and_its_columns_alone(small, monkeypatch):
    monkeypatch.chdir(small)
    study = load_study(Path("params/small/study.yaml"))
    found = [look(study, Layout("small"), name) for name in study.experiments]
    assert contents.beside(found, "shanghaitech-b").head[3:] == ("MAE published, ShanghaiTech B",)
    others = contents.others(found, "shanghaitech-b")
    assert ("ZIP-B (2025)", "", "5.51", "8.63", "EBC-ZIP 2025", "") in others.rows
    assert {row[0] for row in others.rows if row[1]} == {"MCNN"}
    assert "None of these figures is measured here" in others.notes[0]


def test_the_report_holds_all_it_shows(small):
    text = (small / "out/small/published/report.html").read_text()
    tags = Tags(text)
    assert len(tags.images) == 5
    assert all(address.startswith("data:image/png;base64,") for address in tags.images)
    assert {"script", "link", "iframe"}.isdisjoint(tags.names)
    assert "A &lt;small&gt; study" in text
    assert "Search: betas" in text


def test_publishing_again_gives_the_same_bytes(small, monkeypatch):
    monkeypatch.chdir(small)
    layout = Layout("small")
    before = (layout.published / "report.html").read_bytes()
    publish(load_study(layout.params), layout)
    assert (layout.published / "report.html").read_bytes() == before


def test_publishing_what_was_not_evaluated_says_what_to_do(small, monkeypatch, tmp_path):
    study = load_study(small / "params/small/study.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"out/small: Not run: fixed; refined & co\. Run `dotfield run small`"):
        publish(study, Layout("small"))


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


def results_so_far(layout: Layout) -> dict[str, str]:
    """MAE of every experiment, as published so far."""
    with (layout.so_far.published / "tables/results.csv").open() as lines:
        return {row["Experiment"]: row["MAE"] for row in csv.DictReader(lines)}


def test_what_was_not_run_is_said_and_in_no_figure_and_the_pipelines_output_stays(copy, capsys):
    before = {path: path.read_bytes() for path in copy.published.rglob("*.*")}
    copy.scores("refined").unlink()
    publish_so_far(load_study(copy.params), copy)
    found = results_so_far(copy)
    assert found["refined & co"] == "not run"
    assert float(found["fixed"]) > 0
    assert "Not run: refined & co." in capsys.readouterr().out
    text = copy.so_far.report.read_text()
    assert len(Tags(text).images) == 5
    assert not (copy.so_far.published / "tables/comparisons.md").exists()
    assert "off by" in text
    assert {path: path.read_bytes() for path in copy.published.rglob("*.*")} == before


def test_without_the_baseline_nothing_is_compared(copy):
    shutil.rmtree(copy.run("fixed", 5))
    publish_so_far(load_study(copy.params), copy)
    assert results_so_far(copy)["fixed"] == "not run"
    text = copy.so_far.report.read_text()
    assert "The baseline (fixed) was not run: nothing is compared with it. Not run: fixed." in text
    assert "Paired comparison" not in text


def test_runs_with_other_options_than_the_study_has_now_count_as_not_run(copy):
    copy.params.write_text(copy.params.read_text().replace("sigma: 4", "sigma: 5"))
    study = load_study(copy.params)
    publish_so_far(study, copy)
    assert results_so_far(copy)["fixed"] == "not run"
    with pytest.raises(ValueError, match=r"Not run: fixed\. Run `dotfield run small`"):
        publish(study, copy)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("runs/fixed/seed-3/manifest.json", r"manifest\.json: is damaged"),
        ("runs/fixed/seed-3/best.safetensors", r"seed-3: is damaged .*; remove it and train it again"),
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
    with pytest.raises(ValueError, match=said):
        publish(load_study(Path("params/small/study.yaml")), Layout("small"))


def test_an_option_inside_another_is_written_behind_its_name():
    choice = Choice(kind="mcnn", channels=1, optimiser={"lr": 0.001, "kind": "adam"})
    assert results.describe(choice) == "mcnn, channels 1, optimiser lr 0.001 kind adam"
