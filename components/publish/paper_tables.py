"""The paper's tables 2 to 10 in the paper's own rows and columns: each figure with what was measured here.

A cell is filled by the experiment with its counter, `published` key and data set; notes below the table say what else
differs. Experiments on other data or with another counter fill no cell. Figures of other authors, also the newest
results, are shown as they are printed. Tables of methods also say what counting costs: parameters where they are known,
and the CPU seconds per image that were measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.config.study import Study
from components.evaluation.statistics import Estimate, by_scene
from components.publish import published
from components.publish.published import PublishedRow, Shape
from components.publish.results import (
    CPU_SECONDS,
    PARAMETERS,
    EvaluatedRow,
    StudyRow,
    cost_notes,
    evaluated,
    run_costs,
    run_settings,
)
from components.publish.tables import Cell, ComparisonCell, EstimateCell, Table

COMMON_SETTINGS = ("Data", "Resolution", "Preset", "Started from", "Seeds")
HOW_TO_READ = (
    "Published: the paper's figure. Ours: mean over the seeds [95 % interval]. Difference: ours minus published, "
    "not paired. Not run: the study has no such experiment, or it was not run."
)


@dataclass(frozen=True)
class Line:
    """One published row in its table: the names on the left, a figure for each column, and the experiments that may
    fill it."""

    row: PublishedRow
    names: tuple[str, ...]
    figures: Mapping[str, float | None]
    experiments: Sequence[StudyRow]

    @property
    def filled(self) -> EvaluatedRow | None:
        """The first experiment that was run."""
        return next(iter(evaluated(self.experiments)), None)


def paper_table(number: int, study: Study, experiments: Sequence[StudyRow], times: int) -> Table:
    """Table `number` of the paper; `times` replicates give the intervals of scenes."""
    shape, rows = published.shape(number), published.paper_table(number)
    if not shape.lines:
        newest = [row for section in dict.fromkeys(row.section for row in rows) for row in published.newest(section)]
        rows = sorted([*rows, *newest], key=lambda row: (bool(row.key), not row.table))
    lines = [_line(row, rows, shape, [each for each in experiments if fits(each, row, study)]) for row in rows]
    cells: dict[tuple[str, ...], dict[str, Cell]] = {}
    for line in lines:
        cells.setdefault(line.names, {}).update(_cells(line, times))
        if not shape.lines:
            cells[line.names] |= _cost_cells(line)
    columns = list(dict.fromkeys(column for line in lines for column in line.figures))
    columns += [cost for cost in (PARAMETERS, CPU_SECONDS) if any(of.get(cost, "-") != "-" for of in cells.values())]
    return Table(
        f"table-{number}",
        f"Table {number} of the paper: {', '.join([rows[-1].title, *_throughout(rows, shape)])}",
        (*_heads(rows, shape), *columns),
        tuple((*names, *(of[column] for column in columns)) for names, of in cells.items()),
        (
            HOW_TO_READ,
            *_settings(rows),
            *(cost_notes([line.filled for line in lines if line.filled]) if not shape.lines else []),
            *_differences(lines, study),
            *_elsewhere(lines, experiments),
            *_remarks(lines),
        ),
    )


def fits(candidate: StudyRow, row: PublishedRow, study: Study) -> bool:
    """Whether an experiment is the one of a published row: counter, key and data set."""
    experiment = candidate.experiment
    source = study.datasets[experiment.dataset].source
    return row.matches(experiment.counter.kind, experiment.published) and published.section_of(source) == row.section


def _by_scene(result: EvaluatedRow, columns: Sequence[str], times: int) -> dict[str, Estimate]:
    """MAE of every test scene and their average, by the columns of table 10; empty where the scenes are others."""
    if len(set(result.scores.scenes)) != len(columns) - 1:
        return {}
    return dict(zip(columns, by_scene(result.scores, times).values(), strict=True))


def _line(row: PublishedRow, rows: Sequence[PublishedRow], shape: Shape, experiments: Sequence[StudyRow]) -> Line:
    if not shape.lines:
        figures = (row.mae, row.rmse) if "RMSE" in shape.columns else (*(row.scenes or [None] * 5), row.mae)
        return Line(row, (row.method, row.origin), dict(zip(shape.columns, figures, strict=True)), experiments)
    [(label, place)] = [(label, keys.index(row.key)) for label, keys in shape.lines.items() if row.key in keys]
    if shape.columns == "counters":
        return Line(row, (label,), {row.method: row.mae}, experiments)
    names = (*_if_several(row.method, rows, "method"), label)
    column = ", ".join([*_if_several(row.dataset, rows, "dataset"), shape.columns[place]])
    return Line(row, names, {column: row.mae}, experiments)


def _heads(rows: Sequence[PublishedRow], shape: Shape) -> tuple[str, ...]:
    if not shape.lines:
        return "Method", "Source"
    return (*(_if_several("Counter", rows, "method") if shape.columns != "counters" else ()), shape.head)


def _if_several(name: str, rows: Sequence[PublishedRow], attribute: str) -> list[str]:
    """The name, if the rows differ in this attribute."""
    return [name] if len({getattr(row, attribute) for row in rows}) > 1 else []


def _throughout(rows: Sequence[PublishedRow], shape: Shape) -> list[str]:
    """What is the same for every figure of the table: it stands in the caption."""
    [*one] = [{getattr(row, attribute) for row in rows} for attribute in ("method", "dataset")]
    return [*(["MAE"] if "MAE" not in shape.columns else []), *(of.pop() for of in one if len(of) == 1)]


def _cells(line: Line, times: int) -> dict[str, Cell]:
    ours = _ours(line, times)
    why = "not run" if line.filled is None else "not measured: other scenes"
    return {
        column: "-"
        if figure is None
        else ComparisonCell(figure, ours.get(column), why)
        if line.row.key
        else str(figure)
        for column, figure in line.figures.items()
    }


def _cost_cells(line: Line) -> dict[str, Cell]:
    """What counting costs, by heading: a published number, one that was measured here, or both."""
    cells: dict[str, Cell] = {PARAMETERS: "-" if line.row.parameters is None else str(line.row.parameters)}
    cells[CPU_SECONDS] = "-"
    for cost, ours in run_costs(line.filled).items() if line.filled else ():
        if ours != "-":
            cells[cost] = f"ours {ours}" if cells[cost] == "-" else f"published {cells[cost]}; ours {ours}"
    return cells


def _ours(line: Line, times: int) -> dict[str, EstimateCell]:
    """The measured figures of a line by column: MAE, unless the column names another metric."""
    if line.filled is None:
        return {}
    found = line.filled.metrics
    of_columns = {column: found.get(column, found["MAE"]) for column in line.figures}
    of_columns = _by_scene(line.filled, [*line.figures], times) if line.row.scenes else of_columns
    return {column: EstimateCell(estimate) for column, estimate in of_columns.items()}


def _settings(rows: Sequence[PublishedRow]) -> list[str]:
    """The setting of each data set, and the sources in full."""
    settings = dict.fromkeys(f"Published on {row.dataset}: {row.setting}." for row in rows)
    newest = (
        [] if all(row.table for row in rows) else ["Most models of the newest results were selected on the test half."]
    )
    return [*settings, *newest, *dict.fromkeys(f"{row.source}: {row.reference}." for row in rows)]


def _differences(lines: Sequence[Line], study: Study) -> list[str]:
    """The settings of our runs and how they differ from the paper's: one note for all runs with the same settings."""
    titles: dict[str, list[str]] = {}
    for line in lines:
        for result in evaluated(line.experiments)[:1]:
            unlike = "; ".join(_unlike(result, line.row, study)) or "none known"
            run = ", ".join(f"{name.lower()} {run_settings(result)[name]}" for name in COMMON_SETTINGS)
            titles.setdefault(f"{run}. Differences from the paper: {unlike}.", []).append(result.title)
    return [f"Ours, {'; '.join(dict.fromkeys(of))}: {note}" for note, of in titles.items()]


def _unlike(result: EvaluatedRow, row: PublishedRow, study: Study) -> list[str]:
    images, side = len(result.scores.ids), study.datasets[result.experiment.dataset].longest_side
    return [
        *([f"{images} test images, not {row.test}"] if images != row.test else []),
        *([f"images scaled down to at most {side} px on the longer side"] if side else []),
        *([f"preset {result.experiment.preset}"] if result.experiment.preset != "paper" else []),
    ]


def _elsewhere(lines: Sequence[Line], experiments: Sequence[StudyRow]) -> list[str]:
    """Notes on experiments whose `published` key is in this table but which fill none of its cells."""
    keys = {published.canonical_key(line.row.key) for line in lines if line.row.key}
    shown = {line.filled.name for line in lines if line.filled}
    fitting = {each.name for line in lines for each in line.experiments}
    named = [each for each in experiments if published.canonical_key(each.experiment.published) in keys]
    other = [f"{each.title} ({_counter_and_data(each)})" for each in named if each.name not in fitting]
    second = [each.title for each in evaluated(named) if each.name in fitting - shown]
    return [
        *(
            [f"Not shown above, as the table has no cell for this counter on these data: {'; '.join(other)}."]
            if other
            else []
        ),
        *([f"Not shown above, as another experiment fills the cell: {'; '.join(second)}."] if second else []),
    ]


def _counter_and_data(row: StudyRow) -> str:
    return f"{row.experiment.counter.kind}, {row.experiment.dataset}"


def _remarks(lines: Sequence[Line]) -> list[str]:
    return [
        f"{', '.join(part for part in (line.row.method, line.row.map, line.row.dataset) if part)}: {line.row.note}."
        for line in lines
        if line.row.note
    ]
