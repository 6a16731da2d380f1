"""One table, four ways to write it: Markdown, CSV, LaTeX (booktabs) and plain text. HTML is the report's template.

A cell is text, an `EstimateCell` (a number with its interval), or a `ComparisonCell` (a published figure and what was
measured here). Only CSV splits the last two into columns of their own."""

from __future__ import annotations

import csv
import io
import math
import re
import textwrap
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeAlias

from components.evaluation.statistics import Estimate

LATEX = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}"}
    | {c: "\\" + c for c in "&%$#_{}"}
)
NEGATIVE = re.compile(r"(?<![^\s\[(])-(?=\d)")  # the hyphen of a negative number, not that of a range or a name
MISSING = ("-", "not run", "")
HEAD = 16  # characters: a longer name of a column of LaTeX is broken into lines
LONG = 28  # characters: a column of LaTeX with longer text is broken into lines


@dataclass(frozen=True)
class EstimateCell:
    """A number as a table prints it: `12.3 [10.1, 14.2]`. The best of its column is printed bold."""

    columns: ClassVar[tuple[str, ...]] = ("", " low", " high")
    estimate: Estimate
    digits: int = 1
    signed: bool = False
    best: bool = False

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
    """A name for its files, a caption, a head, rows of as many cells, and notes below.

    `settings`: columns that say how a row was made. LaTeX, which has less room, says them in a note."""

    name: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def choose(self, *columns: str) -> Table:
        """The same rows with these columns alone."""
        places = [self.head.index(column) for column in columns]
        rows = tuple(tuple(row[place] for place in places) for row in self.rows)
        return Table(self.name, self.caption, columns, rows, self.notes)

    @property
    def columns(self) -> list[list[Cell]]:
        """The cells of each column, in the order of the head."""
        return [[row[place] for row in self.rows] for place in range(len(self.head))]


def mark_best(rows: Sequence[tuple[Cell, ...]], groups: Sequence[Hashable]) -> tuple[tuple[Cell, ...], ...]:
    """The rows, in which the smallest number of each column is marked among the rows of one group.

    `groups`: of each row; None for a row that is compared with no other. Numbers that print alike are marked alike."""
    marked = [list(row) for row in rows]
    for group in dict.fromkeys(each for each in groups if each is not None):
        members = [row for row, of in zip(marked, groups, strict=True) if of == group]
        for place in range(len(members[0]) if len(members) > 1 else 0):
            cells = [row[place] for row in members]
            numbers = [cell for cell in cells if isinstance(cell, EstimateCell) and not math.isnan(cell.estimate.value)]
            smallest = min(numbers, key=lambda cell: cell.estimate.value, default=None)
            for row, cell in zip(members, cells, strict=True):
                if isinstance(cell, EstimateCell) and smallest is not None and cell.value == smallest.value:
                    row[place] = replace(cell, best=True)
    return tuple(tuple(row) for row in marked)


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
    ends = [_ends(column) for column in table.columns]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name + end for name, of_column in zip(table.head, ends, strict=True) for end in of_column])
    for row in table.rows:
        writer.writerow([part for cell, of in zip(row, ends, strict=True) for part in _apart(cell, len(of))])
    return text.getvalue()


def latex(table: Table) -> str:
    """A `table` environment; needs adjustbox, which shrinks only what is wider than the page, booktabs and makecell."""
    notes = latex_text(" ".join([*table.notes, *describe_settings(table)]))
    lines = [
        r"% \usepackage{adjustbox, booktabs, makecell}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(table.caption)}}}",
        rf"\label{{tab:{table.name}}}",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{4pt}",
        r"\begin{adjustbox}{max width=\textwidth}",
        *_tabular(table),
        r"\end{adjustbox}",
        *([rf"\par\smallskip\parbox{{\textwidth}}{{\footnotesize {notes}}}"] if notes else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _tabular(table: Table) -> list[str]:
    """The columns that are no settings."""
    places = [place for place, name in enumerate(table.head) if name not in table.settings]
    head = _ampersands(_latex_head(table.head[place], table.columns[place]) for place in places)
    rows = [_ampersands(_latex_cell(row[place]) for place in places) for row in table.rows]
    return [
        rf"\begin{{tabular}}{{@{{}}{''.join(_latex_column(table.columns[place]) for place in places)}@{{}}}}",
        r"\toprule",
        head,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
    ]


def describe_settings(table: Table) -> list[str]:
    """Sentences for a table's settings: what all rows share, and what each has for itself."""
    columns = {name: [str(cell) for cell in table.columns[table.head.index(name)]] for name in table.settings}
    shared = [f"{name} {cells[0]}" for name, cells in columns.items() if len({*cells}) == 1]
    own = [name for name, cells in columns.items() if len({*cells}) > 1]
    rows = [
        f"{row[0]}: {'; '.join(f'{name} {columns[name][place]}' for name in own)}."
        for place, row in enumerate(table.rows)
        if own
    ]
    return [*([f"All rows: {'; '.join(shared)}."] if shared else []), *rows]


def plain(table: Table) -> str:
    """Columns padded with spaces, for a terminal."""
    lines = [tuple(str(cell) for cell in row) for row in (table.head, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([table.caption, "", padded[0], "-" * sum(widths, 2 * len(widths) - 2), *padded[1:]])


def typographic(text: str) -> str:
    """Text of a cell with real minus signs, and a dash for what is missing."""
    return "–" if text == "-" else NEGATIVE.sub("−", text)


def escape_latex(text: str) -> str:
    return text.translate(LATEX)


def latex_text(text: str) -> str:
    """Escaped, with real minus signs, and an en dash for a cell that is missing."""
    return escape_latex(typographic(text)).replace("−", "$-$").replace("–", "--")


def _pipes(cells: tuple[Cell, ...]) -> str:
    return "| " + " | ".join(_markdown_cell(cell).replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"


def _markdown_cell(cell: Cell) -> str:
    return f"**{cell.value}** {cell.interval}" if isinstance(cell, EstimateCell) and cell.best else str(cell)


def _ampersands(cells: Iterable[str]) -> str:
    r"""A row; the braces before a bracket keep it from being read as the room below the row above: `\\ [2 cm]`."""
    row = " & ".join(cells) + r" \\"
    return "{}" + row if row.startswith(("[", "*")) else row


def _latex_cell(cell: Cell) -> str:
    """An interval stands below its number, a measured figure below the published one."""
    if isinstance(cell, EstimateCell):
        value = latex_text(cell.value)
        number = rf"\textbf{{{value}}}" if cell.best else value
        return rf"\makecell[tr]{{{number}\\{{\scriptsize {latex_text(cell.interval)}}}}}"
    if isinstance(cell, ComparisonCell):
        return r"\makecell[tl]{" + r"\\".join(map(latex_text, cell.lines)) + "}"
    return latex_text(cell)


def _latex_head(name: str, cells: Sequence[Cell]) -> str:
    """A column's name, broken into short lines: no name makes a column of numbers wide."""
    lines = r"\\".join(latex_text(line) for line in textwrap.wrap(name, HEAD, break_long_words=False))
    return rf"\makecell[b{'r' if is_numeric(cells) else 'l'}]{{{lines}}}" if len(name) > HEAD else lines


def _latex_column(cells: Sequence[Cell]) -> str:
    """Numbers are flush right, text flush left; long text is broken into lines."""
    if is_numeric(cells):
        return "r"
    longest = max((len(cell) for cell in cells if isinstance(cell, str)), default=0)
    return r">{\raggedright\arraybackslash}p{0.25\textwidth}" if longest > LONG else "l"


def is_numeric(cells: Sequence[Cell]) -> bool:
    """Whether a column holds nothing but numbers, estimates among them, or says that there is none."""
    return all(isinstance(cell, EstimateCell) or (isinstance(cell, str) and _is_number(cell)) for cell in cells)


def _is_number(text: str) -> bool:
    return text in MISSING or re.fullmatch(r"[-+]?\d[\d.,]*(e[-+]?\d+)?", text) is not None


def _ends(column: list[Cell]) -> tuple[str, ...]:
    return next((cell.columns for cell in column if not isinstance(cell, str)), ("",))


def _apart(cell: Cell, width: int) -> list[str | float]:
    parts = [cell] if isinstance(cell, str) else [*cell.parts]
    return [*parts, *[""] * (width - len(parts))]
