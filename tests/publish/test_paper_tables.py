"""The paper's tables 2 to 10: every printed figure in its place, what fills a cell, and a study never run."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

from components.config.options import check
from components.config.study import Study
from components.evaluation.scores import Cost, Scores
from components.evaluation.statistics import estimate
from components.publish import published, tables
from components.publish.paper_tables import paper_table
from components.publish.results import CPU_SECONDS, PARAMETERS, EvaluatedRow, StudyRow
from components.publish.tables import ComparisonCell, Table
from components.stages.publish import preview
from components.workspace.layout import Layout

SHANGHAI = {"kind": "shanghaitech", "root": "raw"}
DATASETS = {
    "a": {"source": SHANGHAI | {"part": "A"}},
    "b": {"source": SHANGHAI | {"part": "B"}, "longest_side": 128},
    "expo": {"source": {"kind": "worldexpo", "root": "raw"}},
    "made": {"source": {"kind": "synthetic"}},
}
RECORD = {
    "training_run": {"resolution": "128 x 96", "parameters": 16_263_489},
    "provenance": {"started_from": "random initialisation"},
}
COST = Cost(cpu_seconds=0.512, megapixels=0.786, processor="a processor")
ERRORS = (3.0, -4.0, 5.0)  # MAE 4, RMSE sqrt(50 / 3)


def experiment(dataset: str, counter: str, key: str | None, **options) -> dict:
    title = options.pop("title", f"{counter} {key} on {dataset}")
    return {
        "title": title,
        "dataset": dataset,
        "counter": {"kind": counter},
        "annotation": dataset,
        "published": key,
        **options,
    }


def study(*experiments: dict, shown: tuple[int, ...] = ()) -> Study:
    values = {
        "study": "small",
        "title": "A small study",
        "datasets": DATASETS,
        "maps": {name: {"dataset": name, "kernel": {"kind": "fixed", "sigma": 4}} for name in DATASETS},
        "experiments": {f"e{number}": each for number, each in enumerate(experiments)},
        "publish": {"baseline": "e0", "tables": list(shown), "bootstrap": 100},
    }
    return check(Study, values, "study")


def run(of: Study, name: str, errors: tuple[float, ...] = ERRORS) -> EvaluatedRow:
    """A result with these errors on as many images, for one seed."""
    truth = np.full(len(errors), 100.0)
    ids = tuple(f"{i}" for i in range(len(errors)))
    scores = Scores((0,), ids, truth, truth + np.array([errors]), np.zeros((1, len(errors), 4)))
    return EvaluatedRow(name, of.experiments[name], "some map", {0: RECORD}, scores, estimate(scores, 100))


def table(number: int, of: Study, *ran: str) -> Table:
    rows = [run(of, name) if name in ran else StudyRow(name, each, "") for name, each in of.experiments.items()]
    return paper_table(number, of, rows, 100)


def cell(made: Table, column: str, *names: str):
    [row] = [row for row in made.rows if row[: len(names)] == names]
    return row[made.head.index(column)]


def figures(made: Table) -> list[float]:
    """Every number that stands in a cell, as a figure of its own or published against one of ours."""
    cells = [str(each) for row in made.rows for each, head in zip(row, made.head, strict=True) if head not in NAMES]
    return sorted(float(number) for text in cells for number in re.findall(r"^(?:published )?([\d.]+)", text))


NAMES = ("Counter", "Density map", "Initial kernels", "Metric", "Method", "Source", PARAMETERS)
NOTHING = study(experiment("made", "mcnn", None))


@pytest.mark.parametrize("number", range(2, 11))
def test_every_printed_figure_stands_in_its_table_once(number):
    """ComparisonCell a walk through the file that knows nothing of rows, sections and shapes."""
    text = Path(published.FILE).read_text()
    parts = re.split(r"\n(?=      - table:|  [a-z-]+:\n)", text)
    own = [part for part in parts if part.startswith(f"      - table: {number}\n")]
    newest = [after for part, after in pairwise(parts) if part in own and "table: newest" in after]
    values = r"(?:mae|rmse): ([\d.]+)|scenes: \[([^]]*)\]"
    printed = [
        float(one)
        for part in (*own, *(newest if number > 6 else []))
        for found in re.findall(values, part)
        for one in ", ".join(filter(None, found)).split(", ")
    ]
    assert figures(table(number, NOTHING)) == sorted(printed)


@pytest.mark.parametrize(
    ("number", "column", "names", "expected"),
    [
        (2, "ShanghaiTech A, with refinement", ("SFCN", "fixed, sigma 16"), "67.8"),
        (2, "ShanghaiTech B, without refinement", ("MCNN", "fixed, sigma 16"), "17.3"),
        (3, "ShanghaiTech B, MAE", ("MCNN", "fixed, sigma 16"), "18.7"),
        (3, "ShanghaiTech A, MAE", ("CSRNet", "generated"), "64.7"),
        (4, "local loss", ("learned",), "73.0"),
        (4, "hard normalisation", ("fixed",), "112.8"),
        (5, "image attention", ("MAE",), "66.9"),
        (6, "SFCN", ("generated for CSRNet",), "73.2"),
        (7, "RMSE", ("Density map generation",), "97.1"),
        (8, "MAE", ("Density map refinement",), "9.1"),
        (9, "RMSE", ("Density map generation",), "176"),
        (10, "Scene 3", ("Density map generation",), "7.2"),
        (10, "Average", ("Density map refinement",), "10.3"),
    ],
)
def test_a_cell_is_the_one_that_the_paper_prints(number, column, names, expected):
    assert str(cell(table(number, NOTHING), column, *names)) == f"published {expected}; not run"


@pytest.mark.parametrize(
    ("number", "column", "expected"), [(7, "RMSE", "173.2"), (9, "MAE", "277"), (10, "Scene 2", "20.6")]
)
def test_other_methods_stand_as_they_are_printed(number, column, expected):
    assert cell(table(number, NOTHING), column, "MCNN") == expected


def test_newest_results_stand_between_other_methods_and_the_papers_own():
    methods = [row[0] for row in table(8, NOTHING).rows]
    assert methods[0] == "Cross-scene"
    assert methods[16:18] == ["CSRNet", "ZIP-B (2025)"]
    assert methods[-3:] == ["ZIP-P (2025)", "Density map refinement", "Density map generation"]
    assert cell(table(8, NOTHING), "RMSE", "PET (2023)") == "-"


def test_tables_of_methods_say_what_counting_costs() -> None:
    one = study(experiment("b", "csrnet", "generator"))
    made = paper_table(8, one, [replace(run(one, "e0"), cost=COST)], 100)
    assert made.head == ("Method", "Source", "MAE", "RMSE", PARAMETERS, CPU_SECONDS)
    costs = {row[0]: row[4:] for row in made.rows}
    assert costs["ZIP-P (2025)"] == ("0.81", "-")
    assert costs["ZIP-B (2025)"] == ("-", "-")
    assert costs["Density map generation"] == ("published 16.26; ours 16.3", "ours 0.51")
    assert any("images of 0.79 megapixels on average, a processor" in note for note in made.notes)


def test_a_cost_that_was_not_measured_has_no_column() -> None:
    one = study(experiment("b", "csrnet", "generator"))
    assert table(8, one, "e0").head == ("Method", "Source", "MAE", "RMSE", PARAMETERS)
    assert CPU_SECONDS not in table(3, one, "e0").head
    assert any("not measured" in note for note in table(8, one, "e0").notes)


def test_a_filled_cell_has_both_figures_and_their_difference():
    both = study(experiment("a", "mcnn", "fixed_4"), experiment("b", "mcnn", "fixed_4"))
    made = table(3, both, "e0", "e1")
    filled = cell(made, "ShanghaiTech A, MAE", "MCNN", "fixed, sigma 4")
    assert re.fullmatch(r"published 96\.0; ours 4\.0 \[3\.\d, [45]\.\d\]; difference -92\.0", str(filled))
    assert "difference -13.9" in str(cell(made, "ShanghaiTech B, MAE", "MCNN", "fixed, sigma 4"))
    others = [str(each) for row in made.rows for each in row if isinstance(each, ComparisonCell) and each.ours is None]
    assert len(others) == 30
    assert all(re.fullmatch(r"published [\d.]+; not run", text) for text in others)


def test_csv_takes_a_cell_apart_unrounded():
    one = study(experiment("a", "csrnet", "generator"))
    rows = list(csv.DictReader(io.StringIO(tables.comma_separated(table(7, one, "e0")))))
    ours = rows[-1]
    assert ours["RMSE published"] == "97.1"
    assert float(ours["RMSE ours"]) == pytest.approx((50 / 3) ** 0.5)
    assert float(ours["RMSE difference"]) == pytest.approx((50 / 3) ** 0.5 - 97.1)
    assert float(ours["RMSE ours low"]) < float(ours["RMSE ours"]) < float(ours["RMSE ours high"])
    assert (rows[-2]["MAE published"], rows[-2]["MAE ours"], rows[-2]["MAE difference"]) == ("64.2", "not run", "")
    assert (rows[0]["MAE published"], rows[0]["MAE ours"]) == ("181.8", "")


@pytest.mark.parametrize("key", ["generator", "generator_self_attention", "generator_fixed_kernels_global_loss"])
def test_one_experiment_fills_its_cell_in_every_table(key):
    one = study(experiment("a", "csrnet", key))
    places = [(3, "ShanghaiTech A, MAE", "CSRNet", "generated"), (4, "global loss", "fixed")]
    places += [(5, "self-attention", "MAE"), (7, "MAE", "Density map generation")]
    assert all(cell(table(number, one, "e0"), *place).ours is not None for number, *place in places)


def test_another_counter_or_data_set_fills_no_cell_and_is_named():
    other = study(experiment("b", "csrnet", "generator_self_attention"), experiment("made", "mcnn", "generator"))
    made = table(5, other, "e0", "e1")
    assert all(each.ours is None for each in made.rows[0][1:])
    [note] = [note for note in made.notes if note.startswith("Not shown above")]
    assert "csrnet generator_self_attention on b (csrnet, b); mcnn generator on made (mcnn, made)" in note


def test_the_notes_say_what_is_not_as_in_the_paper():
    one = study(experiment("b", "mcnn", "refined", title="ours"))
    [note] = [note for note in table(2, one, "e0").notes if note.startswith("Ours, ours: ")]
    assert "b, test, 3 images, resolution 128 x 96 px" in note
    assert note.endswith(
        "Differences from the paper: 3 test images, not 316; "
        "images scaled down to at most 128 px on the longer side; preset stable."
    )


def test_of_two_experiments_for_a_cell_the_first_that_was_run_fills_it():
    twice = study(*(experiment("a", "mcnn", "adaptive", title=title) for title in ("first", "second", "third")))
    made = table(2, twice, "e1", "e2")
    assert "ours 4.0" in str(cell(made, "ShanghaiTech A, without refinement", "MCNN", "adaptive"))
    assert "Not shown above, as another experiment fills the cell: third." in made.notes


def test_table_10_takes_scenes_in_their_order():
    expo, scenes = study(experiment("expo", "csrnet", "refined")), "vwxzyv"
    result = run(expo, "e0", (1.0, 2.0, 3.0, 5.0, -4.0, 2.0))
    made = paper_table(10, expo, [replace(result, scores=replace(result.scores, scenes=tuple(scenes)))], 100)
    row = next(row for row in made.rows if row[0] == "Density map refinement")
    assert [each.ours.estimate.value for each in row[2:8]] == [1.5, 2, 3, 4, 5, 3.1]
    assert re.fullmatch(r"published 11\.7; ours 3\.0 \[.*\]; difference -8\.7", str(row[4]))


def test_table_10_says_that_scenes_are_others():
    made = table(10, study(experiment("expo", "csrnet", "refined")), "e0")
    assert str(cell(made, "Average", "Density map refinement")) == "published 10.3; not measured: other scenes"


def test_a_table_that_the_paper_does_not_have_is_a_mistake():
    with pytest.raises(ValueError, match=r"publish\.tables\.0"):
        study(experiment("a", "mcnn", None), shown=(1,))


def test_a_study_of_which_nothing_was_run_has_its_tables_and_no_figure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    none, layout = study(experiment("a", "mcnn", "fixed_4", title="near"), shown=(3, 7)), Layout("small")
    layout.params.parent.mkdir(parents=True)
    layout.params.write_text(yaml.safe_dump(none.model_dump(mode="json")))
    shown = preview(layout)
    assert not layout.published.exists()
    files = {path.name for path in layout.preview.published.rglob("*.md")}
    assert files == {"results.md", "published-comparison.md", "table-3.md", "table-7.md"}
    assert re.search(r"^near +not run +not run", shown, re.M)
    text = layout.preview.report.read_text()
    assert "The baseline (near) was not run, so nothing is compared with it. Not run: near." in text
    assert "<span>published 96.0</span><span>not run</span>" in text
    assert "<img" not in text
