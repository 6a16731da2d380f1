"""One table, four ways to write it: Markdown, CSV, LaTeX (booktabs) and plain text. HTML is the report's template.

A cell is text, an `EstimateCell` (a number with its interval), or a `ComparisonCell` (a published figure and what was
measured here). Only CSV splits the last two into columns of their own."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias

from components.evaluation.statistics import Estimate

LATEX = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}"}
    | {c: "\\" + c for c in "&%$#_{}"}
)


@dataclass(frozen=True)
class EstimateCell:
    """A number as a table prints it: `12.3 [10.1, 14.2]`."""

    columns: ClassVar[tuple[str, ...]] = ("", " low", " high")
    estimate: Estimate
    digits: int = 1
    signed: bool = False

    @property
    def value(self) -> str:
        return self._print(self.estimate.value)

    @property
    def interval(self) -> str:
        return f"[{self._print(self.estimate.low)}, {self._print(self.estimate.high)}]"

    def __str__(self) -> str:
        return f"{self.value} {self.interval}"

    @property
    def parts(self) -> tuple[float, ...]:
        """The number, unrounded, for each of `columns`."""
        return tuple(self.estimate)

    def _print(self, number: float) -> str:
        return "-" if math.isnan(number) else f"{number:{'+' if self.signed else ''}.{self.digits}f}"


@dataclass(frozen=True)
class ComparisonCell:
    """A published figure, and the number measured here, or why there is none."""

    columns: ClassVar[tuple[str, ...]] = (" published", " ours", " ours low", " ours high", " difference")
    published: float
    ours: EstimateCell | None = None
    otherwise: str = "not run"

    @property
    def lines(self) -> tuple[str, ...]:
        if self.ours is None:
            return f"published {self.published}", self.otherwise
        return f"published {self.published}", f"ours {self.ours}", f"difference {self._difference:+.1f}"

    @property
    def parts(self) -> tuple[str | float, ...]:
        """Numbers, unrounded, for each of `columns`."""
        if self.ours is None:
            return self.published, self.otherwise, "", "", ""
        return self.published, *self.ours.parts, self._difference

    def __str__(self) -> str:
        return "; ".join(self.lines)

    @property
    def _difference(self) -> float:
        assert self.ours is not None
        return self.ours.estimate.value - self.published


Cell: TypeAlias = str | EstimateCell | ComparisonCell


@dataclass(frozen=True)
class Table:
    """A name for its files, a caption, a head, rows of as many cells, and notes below."""

    name: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def choose(self, *columns: str) -> Table:
        """The same rows with these columns alone."""
        places = [self.head.index(column) for column in columns]
        rows = tuple(tuple(row[place] for place in places) for row in self.rows)
        return Table(self.name, self.caption, columns, rows, self.notes)


def write(table: Table, folder: Path) -> None:
    """`<name>.md`, `<name>.csv` and `<name>.tex`."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, text in ((".md", markdown(table)), (".csv", comma_separated(table)), (".tex", latex(table))):
        (folder / (table.name + suffix)).write_text(text, newline="")


def markdown(table: Table) -> str:
    lines = [_pipes(table.head), _pipes(("---",) * len(table.head)), *(_pipes(row) for row in table.rows)]
    return "\n".join([f"**{table.caption}**", "", *lines, "", *(f"- {note}" for note in table.notes)]) + "\n"


def comma_separated(table: Table) -> str:
    """A column of `EstimateCell` numbers becomes three, one of `ComparisonCell` five, unrounded."""
    ends = [_ends([row[place] for row in table.rows]) for place in range(len(table.head))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name + end for name, of_column in zip(table.head, ends, strict=True) for end in of_column])
    for row in table.rows:
        writer.writerow([part for cell, of in zip(row, ends, strict=True) for part in _apart(cell, len(of))])
    return text.getvalue()


def latex(table: Table) -> str:
    """A `table` environment; needs booktabs and graphicx."""
    body = [_ampersands(row) for row in table.rows]
    notes = [rf"\par\smallskip\footnotesize {escape_latex(' '.join(table.notes))}"] if table.notes else []
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{'l' * len(table.head)}}}",
            r"\toprule",
            _ampersands(table.head),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            *notes,
            r"\end{table}",
            "",
        ]
    )


def plain(table: Table) -> str:
    """Columns padded with spaces, for a terminal."""
    lines = [tuple(str(cell) for cell in row) for row in (table.head, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([table.caption, "", padded[0], "-" * sum(widths, 2 * len(widths) - 2), *padded[1:]])


def escape_latex(text: str) -> str:
    return text.translate(LATEX)


def _pipes(cells: tuple[Cell, ...]) -> str:
    return "| " + " | ".join(str(cell).replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"


def _ampersands(cells: tuple[Cell, ...]) -> str:
    r"""A row; the braces before a bracket keep it from being read as the room below the row above: `\\ [2 cm]`."""
    row = " & ".join(escape_latex(str(cell)) for cell in cells) + r" \\"
    return "{}" + row if row.startswith(("[", "*")) else row


def _ends(column: list[Cell]) -> tuple[str, ...]:
    return next((cell.columns for cell in column if not isinstance(cell, str)), ("",))


def _apart(cell: Cell, width: int) -> list[str | float]:
    parts = [cell] if isinstance(cell, str) else [*cell.parts]
    return [*parts, *[""] * (width - len(parts))]
