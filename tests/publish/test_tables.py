"""Tables in three formats, the figures that were published, and what is said of a difference."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from components.config.options import Choice
from components.config.study import Experiment
from components.errors import UserError
from components.evaluation.statistics import Difference, Estimate
from components.publish import published, results, tables
from components.publish.tables import ComparisonCell, EstimateCell, Table

AWKWARD = Table(
    "awkward",
    "50 % of a_b & c",
    ("Name", "MAE"),
    (("a|b_{c} <script>", EstimateCell(Estimate(12.345, 1.0, 20.0))), ("\\none ~ $5^2 #1", "-")),
    ("100 % sure",),
)


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
    assert (
        r"a\textbar{}b\_\{c\} \textless{}script\textgreater{} & \makecell[tr]{12.3\\{\scriptsize [1.0, 20.0]}} \\"
        in text
    )
    assert r"\textbackslash{}none \textasciitilde{} \$5\textasciicircum{}2 \#1 & -- \\" in text
    assert r"\caption{50 \% of a\_b \& c}" in text
    assert [rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [True] * 3
    assert text.startswith("% \\usepackage{adjustbox, booktabs, makecell}\n")


def test_latex_shrinks_what_is_too_wide_and_enlarges_nothing():
    text = tables.latex(AWKWARD)
    begin, end = text.index(r"\begin{adjustbox}{max width=\textwidth}"), text.index(r"\end{adjustbox}")
    assert begin < text.index(r"\begin{tabular}{@{}lr@{}}") < text.index(r"\end{tabular}") < end
    assert "resizebox" not in text


def test_every_brace_and_environment_of_latex_is_closed():
    published = ComparisonCell(8.0, EstimateCell(Estimate(7.5, -1.0, 9.0), best=True))
    rows = (("{a", published, "x" * 40), ("b}", ComparisonCell(8.0), "y"))
    text = tables.latex(Table("t", "c_{", ("N", "P", "Long"), rows, ("note }",), settings=("Long",)))
    bare = re.sub(r"\\[\\{}]", "", text)
    assert bare.count("{") == bare.count("}")
    opened, closed = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
    assert opened == closed[::-1] == ["table", "adjustbox", "tabular"]


def test_latex_has_real_minus_signs_and_no_others():
    cells = ("-1.5", "a-1 to 5-6", "1e-05", "-0.25 (seed 3), -1.00 (seed 5)", "[-3, -2]")
    assert tables.latex_text("; ".join(cells)) == (
        "$-$1.5; a-1 to 5-6; 1e-05; $-$0.25 (seed 3), $-$1.00 (seed 5); [$-$3, $-$2]"
    )
    difference = EstimateCell(Estimate(-0.25, -1.0, 1.5), digits=2, signed=True)
    text = tables.latex(Table("t", "c", ("a", "b"), (("x", difference),)))
    assert r"\makecell[tr]{$-$0.25\\{\scriptsize [$-$1.00, +1.50]}}" in text


def test_latex_says_settings_in_a_note_what_is_shared_once():
    head = ("Name", "MAE", "Counter", "Seeds")
    table = Table(
        "t", "c", head, (("x", "1", "mcnn", "0"), ("y", "2", "mcnn", "0, 1")), ("Note.",), ("Counter", "Seeds")
    )
    text = tables.latex(table)
    assert "Note. All rows: Counter mcnn. x: Seeds 0. y: Seeds 0, 1." in text
    assert r"Name & MAE \\" in text.splitlines()
    assert r"x & 1 \\" in text.splitlines()
    assert "Counter" in tables.markdown(table).splitlines()[2]


def test_a_column_of_long_text_is_broken_into_lines_and_numbers_are_flush_right():
    table = Table("t", "c", ("Name", "MAE", "Note"), (("x", "-1.5", "word " * 9), ("y", "not run", "-")))
    assert r"{@{}lr>{\raggedright\arraybackslash}p{0.25\textwidth}@{}}" in tables.latex(table)


def test_a_long_name_of_a_column_does_not_make_it_wide():
    text = tables.latex(Table("t", "c", ("Name", "MAE published ShanghaiTech B"), (("x", "1.5"),)))
    assert r"Name & \makecell[br]{MAE published\\ShanghaiTech B} \\" in text.splitlines()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex with adjustbox, booktabs and makecell")
def test_latex_compiles(tmp_path):
    awkward = replace(AWKWARD, head=("[a name]", "MAE ± × − of ShanghaiTech_A"), settings=())
    document = [r"\documentclass{article}", tables.latex(awkward).splitlines()[0].removeprefix("% ")]
    document += [r"\begin{document}", tables.latex(awkward), tables.latex(AWKWARD), r"\end{document}"]
    (tmp_path / "all.tex").write_text("\n".join(document))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout
    assert "Overfull" not in ended.stdout


def test_the_smallest_of_each_column_is_marked_among_comparable_rows():
    def cell(value: float) -> EstimateCell:
        return EstimateCell(Estimate(value, 0.0, 99.0))

    rows = (
        ("a", cell(3.04), "x"),
        ("b", cell(3.01), "x"),
        ("c", cell(9.0), "x"),
        ("d", cell(1.0), "x"),
        ("e", "-", "x"),
    )
    marked = tables.mark_best(rows, ["one", "one", "one", "another", None])
    assert [row[1].best for row in marked[:4]] == [True, True, False, False]  # 3.0 and 3.0 print alike; d is alone
    assert marked[4] == rows[4]
    assert "| a | **3.0** [0.0, 99.0] | x |" in tables.markdown(Table("t", "c", ("N", "M", "X"), marked))
    assert r"\textbf{3.0}\\" in tables.latex(Table("t", "c", ("N", "M", "X"), marked))
    assert tables.mark_best((("a", cell(math.nan)), ("b", cell(math.nan))), [0, 0])[0][1].best is False


def test_a_row_of_latex_that_begins_with_a_bracket_is_no_option_of_the_row_above():
    table = Table("t", "c", ("a", "b"), (("x", "y"), ("[2 cm]", "z"), ("*", "z")))
    assert r"{}[2 cm] & z \\" in tables.latex(table).splitlines()
    assert r"{}* & z \\" in tables.latex(table).splitlines()


def test_what_could_not_be_measured_is_a_dash():
    assert str(EstimateCell(Estimate(math.nan, math.nan, math.nan), digits=3)) == "- [-, -]"


def test_signed_differences_show_their_sign():
    assert str(EstimateCell(Estimate(0.25, -1.0, 1.5), digits=2, signed=True)) == "+0.25 [-1.00, +1.50]"


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
    assert [row.mae for row in published.figures_for(section, counter, key)] == expected


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
    with pytest.raises(UserError, match=r"no section 'mars'; it has .*shanghaitech-a"):
        published.section("mars")


@pytest.mark.parametrize(
    ("interval", "seeds", "said"),
    [
        ((-3, -5, -1), 3, "yes: lower error"),
        ((3, 1, 5), 3, "yes: higher error"),
        ((-3, -5, 1), 3, "no: the interval includes 0"),
        ((-3, -5, -1), 1, "unknown: one seed only"),
    ],
)
def test_a_verdict_is_read_off_the_interval(interval, seeds, said):
    assert results.verdict(Difference(Estimate(*interval), dict.fromkeys(range(seeds), 0.0))) == said


def test_the_findings_say_of_each_experiment_what_its_interval_allows():
    titles = ("base", "lower", "higher", "same", "once")
    rows = [
        results.StudyRow(
            title, Experiment(title=title, dataset="crowd", annotation="near", counter={"kind": "mcnn"}), ""
        )
        for title in titles
    ]
    two, one = {0: 0.0, 1: 0.0}, {0: 0.0}
    differences = {
        "lower": Difference(Estimate(-1.0, -2.0, -0.5), two),
        "higher": Difference(Estimate(1.0, 0.5, 2.0), two),
        "same": Difference(Estimate(-1.0, -2.0, 0.5), two),
        "once": Difference(Estimate(-1.0, -2.0, -0.5), one),
    }
    said = results.describe_findings(rows, "base", differences)
    assert said.startswith("The baseline (base) was not run, so nothing is compared with it. Lower error")
    for words in (
        "Lower error, beyond noise: lower. ",
        "Higher error, beyond noise: higher. ",
        "No measurable difference from the baseline: same. ",
        "With one seed only, so unknown: once. ",
    ):
        assert words in said


def test_an_option_inside_another_is_written_behind_its_name():
    choice = Choice(kind="mcnn", channels=1, optimiser={"lr": 0.001, "kind": "adam"})
    assert results.describe_choice(choice) == "mcnn, channels 1, optimiser lr 0.001 kind adam"
