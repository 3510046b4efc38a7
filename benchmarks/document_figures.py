"""Puts what was measured into the README, the documents and the model cards: tables, and single figures in a sentence.

    python benchmarks/document_figures.py [--experiments reports/experiments]

Figures lie in `docs/measurements/NAME.json`, one file a measurement (`visual_echoes.evaluation.measurement`). The
programs of this folder (`-o`) and `echoes evaluate digits|scenes` (`figures.json`) write such files:

    {
      "command": "python benchmarks/serving.py -o docs/measurements/serving.json",
      "machine": "two cores of a server processor",
      "date": "2026-11-24",
      "source": "where the figures are from, if the command did not write this file itself",  (may be left out)
      "title": "a bold line above",  (may be left out)
      "columns": ["clients", "sounds a second"],
      "rows": [["1", 3.2], ["8", null]],  (text as it is shown, numbers, or null for an empty cell)
      "formats": {"sounds a second": ".2f"},  (of numbers, by column; may be left out)
      "note": "Markdown below the table"  (may be left out)
    }

Several tables of one measurement stand under `"tables"` instead, by name: `{"NAME": {"columns": ..., "rows": ...}}`.

A document marks where they go, and what is marked is written anew each time:

    <!-- figures: NAME -->         all tables of the measurement, and a line with command, machine and date
    <!-- figures: NAME/TABLE -->   one of its tables, and that line
    <!-- end -->

    ... 3.20<!--=serving: 1; sounds a second--> sounds a second ...

The single figure is the cell in the row that begins with `1` (several first cells are joined by a comma and a space),
in the named column, or else in the second one. It keeps the decimals that it is written with; before `%` it is a
hundredfold. The mark follows the figure, as a line that begins with a comment is no longer part of its paragraph.
`settings` are figures of the code itself (`figures_of_code.py`).

`--experiments` first takes over the reports that `echoes experiment` left in a folder.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from figures_of_code import SETTINGS

from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.measurement import (
    ONLY,
    Cell,
    Measurement,
    Table,
    measured_here,
    read_measurement,
    write_measurement,
)
from visual_echoes.evaluation.measures import FIGURES
from visual_echoes.studies.findings import show
from visual_echoes.studies.queue import REPORT_FILE
from visual_echoes.studies.registry import EXPERIMENTS
from visual_echoes.studies.report import ExperimentReport

ROOT = Path(__file__).parents[1]
MEASUREMENTS = ROOT / "docs/measurements"

BLOCK = re.compile(r"(<!-- figures: ([\w/-]+) -->\n)(?:(?!<!-- figures: ).)*?(<!-- end -->)", re.DOTALL)
NUMBER = r"-?\d[\d,]*(?:\.\d+)?"
SINGLE = re.compile(rf"(?<![\w.,-])({NUMBER}(?: ± {NUMBER})?)( ?%)?<!--= ?([^>]+?) ?-->")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=Path, help="folder of reports to take over first")
    options = parser.parse_args()
    if options.experiments is not None:
        take_experiments(options.experiments)
    measurements = read_all()
    for page in pages():
        text = page.read_text(encoding="utf-8")
        try:
            filled = fill(text, measurements)
        except EchoesError as error:
            sys.exit(f"{page.relative_to(ROOT)}: {error}")
        if filled != text:
            page.write_text(filled, encoding="utf-8")
            print(page.relative_to(ROOT))


def pages() -> list[Path]:
    """Everything that may show a figure; a packaged model's card is copied from its recipe's."""
    cards = (ROOT / "src/visual_echoes").glob("*/*/*.md")
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(cards)]


def read_all() -> dict[str, Measurement]:
    """Every measurement by its file's name, and the code's own figures as `settings`."""
    found = {path.stem.replace("_", "-"): read_measurement(path) for path in sorted(MEASUREMENTS.glob("*.json"))}
    return {"settings": SETTINGS, **found}


def fill(markdown: str, measurements: Mapping[str, Measurement]) -> str:
    """The document with every marked table and figure as it was measured."""

    def block(match: re.Match[str]) -> str:
        start, name, end = match.groups()
        measurement, table = find(name, measurements)
        return start + measurement.markdown(table and [table]) + end

    def single(match: re.Match[str]) -> str:
        shown, percent, where = match.groups()
        name, _, rest = where.partition(": ")
        label, _, column = rest.partition("; ")
        measurement, named = find(name, measurements)
        if named is None and measurement.tables.keys() != {ONLY}:
            raise EchoesError(f"{name} has several tables; name one: {', '.join(measurement.tables)}.")
        table = measurement.tables[named or ONLY]
        try:
            figure = as_shown(cell_of(table, label, column or table.columns[1]), shown, 100 if percent else 1)
        except EchoesError as error:
            raise EchoesError(f"<!--={where}-->: {error}") from error
        return figure + match.group()[len(shown) :]

    filled, blocks = BLOCK.subn(block, markdown)
    if blocks != markdown.count("<!-- figures: "):
        raise EchoesError("a mark of figures stands without its end.")
    filled, singles = SINGLE.subn(single, filled)
    if singles != markdown.count("<!--="):
        raise EchoesError("a mark has no figure before it.")
    return filled


def find(name: str, measurements: Mapping[str, Measurement]) -> tuple[Measurement, str | None]:
    """The measurement, and the name of its table if there is one, that `NAME` or `NAME/TABLE` means."""
    name, _, table = name.partition("/")
    if name not in measurements:
        raise EchoesError(f"there is no measurement {name}; docs/measurements/{name}.json would be its file.")
    measurement = measurements[name]
    if table and table not in measurement.tables:
        raise EchoesError(f"{name} has no table {table}, but {', '.join(measurement.tables)}.")
    return measurement, table or None


def cell_of(table: Table, label: str, column: str) -> Cell:
    """The cell of the one row that begins with the label, in the named column."""
    if column not in table.columns:
        raise EchoesError(f"there is no column {column!r}, but {', '.join(table.columns)}.")
    found = [
        row
        for row, texts in zip(table.rows, table.texts(), strict=True)
        if label in {", ".join(texts[:count]) for count in range(1, len(texts))}
    ]
    if len(found) != 1:
        raise EchoesError(f"{len(found)} rows begin with {label!r}.")
    return found[0][table.columns.index(column)]


def as_shown(cell: Cell, shown: str, scale: int = 1) -> str:
    """A cell's first number, with as many decimals as the text that it takes the place of; a spread if that is one."""
    numbers = re.findall(NUMBER, cell) if isinstance(cell, str) else [] if cell is None else [str(cell)]
    wanted = shown.split(" ± ")
    if len(numbers) < len(wanted):
        raise EchoesError(f"{cell!r} does not give what {shown!r} needs.")
    values = [float(number.replace(",", "")) * scale for number in numbers[: len(wanted)]]
    decimals = [len(text.partition(".")[2]) for text in wanted]
    return " ± ".join(f"{value:,.{places}f}" for value, places in zip(values, decimals, strict=True))


def take_experiments(folder: Path) -> None:
    """Write a measurement of every experiment's reports, a table for each setting."""
    for name in EXPERIMENTS:
        settings = sorted(path.parent for path in (folder / name).glob(f"*/{REPORT_FILE}"))
        if settings:
            tables = {setting.name: experiment_table(name, setting) for setting in settings}
            measurement = measured_here(tables, f"echoes experiment {name}").model_copy(
                update={"command": f"echoes experiment {name}"}
            )
            write_measurement(measurement, MEASUREMENTS / f"{name}.json")


def experiment_table(name: str, folder: Path) -> Table:
    """Headline figures of one experiment in one setting; the counts are the note."""
    report = ExperimentReport.model_validate_json((folder / REPORT_FILE).read_text(encoding="utf-8"))
    experiment = EXPERIMENTS[name]
    headline = [key for key in experiment.headline if any(key in row.figures for row in report.rows)]
    columns = (folder.name, *(FIGURES[key].title for key in headline), *["seconds an item"] * experiment.timed)
    rows = []
    for row in report.rows:
        cells = [show(row.figures[key], FIGURES[key]) if key in row.figures else None for key in headline]
        rows.append((row.label, *cells, *[report.seconds[row.label].value] * experiment.timed))
    words = {"pictures": "images", "sounds": "sounds", "pairs": "pairs"}
    counts = ", ".join(f"{report.facts['counts'][key]} {word}" for key, word in words.items())
    return Table(
        columns=columns,
        rows=tuple(rows),
        formats={"seconds an item": ".3f"} if experiment.timed else {},
        note=f"{len(report.seeds)} seeds, {counts} each.",
    )


if __name__ == "__main__":
    main()
