"""A report as tables: on the terminal with Rich, and for documents (`measurement`)."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from visual_echoes.evaluation.measurement import Table
from visual_echoes.evaluation.records import Report, TargetResult

NOTHING = "-"
MADE = "generated"  # the column of a model's own, whose matrices are shown


def print_report(report: Report, console: Console | None = None) -> None:
    """Print the targets, then all figures side by side."""
    console = console or Console()
    for table in report_tables(report).values():
        rich = RichTable(*table.columns, title=table.title, title_justify="left", box=SIMPLE)
        for row in table.texts():
            rich.add_row(*map(escape, row))
        console.print(rich)


def report_tables(report: Report) -> dict[str, Table]:
    """The targets, if there are any; all figures side by side, distances apart; of a model, what was taken for what."""
    tables = {}
    if report.targets:
        rows = tuple((t.name, f"{t.value:.3f}", bound(t), "yes" if t.met else "no") for t in report.targets)
        tables["targets"] = Table(title="Targets", columns=("measure", "value", "target", "met"), rows=rows)
    figures = [figure for column in report.columns.values() for figure in column.figures.items()]
    distances = {name for name, figure in figures if figure.references is not None}
    texts = {name: (measure.label, *cells(report, name)) for name, measure in report.measures.items()}
    tables["all"] = Table(
        title=report.title,
        columns=("measure", *report.columns),
        rows=tuple(row for name, row in texts.items() if name not in distances),
    )
    if distances:  # each in a column of its own, as they say what they are of
        head, *lines = zip(("of", *report.columns), *(texts[name] for name in texts if name in distances), strict=True)
        tables["distances"] = Table(title="Distances", columns=head, rows=tuple(lines))
    made = report.columns.get(MADE)
    for name, matrix in (made.matrices if made is not None else {}).items():
        tables[name] = Table(
            title=f"Rows: {matrix.rows}; columns: {matrix.columns}; all seeds",
            columns=("", *matrix.labels),
            rows=tuple((label, *counts) for label, counts in zip(matrix.labels, matrix.counts, strict=True)),
        )
    return tables


def cells(report: Report, name: str) -> list[str]:
    """A figure of every column as text."""
    form = report.measures[name].form
    figures = (column.figures.get(name) for column in report.columns.values())
    return [NOTHING if figure is None else figure.text(form) for figure in figures]


def bound(target: TargetResult) -> str:
    """What a target asks for."""
    return f"{'at most' if target.at_most else 'at least'} {target.bound:g}"
