"""What was measured, as tables that a document can show: one small JSON file a measurement, under `docs/measurements`.

A file names the command that measured, the machine and the day. `python benchmarks/document_figures.py` puts its tables
and single figures into the documents; its docstring shows the form.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.records import Record
from visual_echoes.files import write_text

MEASUREMENT_FILE = "figures.json"
ONLY = ""  # name of the table of a measurement that has one alone
Cell = str | int | float | None


class Table(Record):
    """Rows under columns; the first cells of a row say what it is of."""

    title: str = ""
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]  # text as it is shown, numbers, or None where there is nothing
    formats: dict[str, str] = Field(default_factory=dict)  # by column: how its numbers are shown, as `format` takes it
    note: str = ""  # Markdown that stands below

    @model_validator(mode="after")
    def _fits(self) -> Table:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("every row must have as many cells as there are columns")
        if unknown := set(self.formats) - set(self.columns):
            raise ValueError(f"formats name no column: {', '.join(sorted(unknown))}")
        return self

    def texts(self) -> list[tuple[str, ...]]:
        """The rows as they are shown: numbers without a format with their own decimals, thousands divided."""
        formats = [self.formats.get(column, ",") for column in self.columns]
        return [tuple(_text(cell, form) for cell, form in zip(row, formats, strict=True)) for row in self.rows]

    def markdown(self) -> str:
        """Title, table and note, a blank line after each."""
        head, *body = (
            "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (self.columns, *self.texts())
        )
        grid = "\n".join((head, "|---" * len(self.columns) + "|", *body))
        return "".join(f"{part}\n\n" for part in (self.title and f"**{self.title}**", grid, self.note) if part)


class Measurement(Record):
    """Tables by name, and where they are from. A file with one alone may have its keys beside `command`."""

    command: str  # what measures it anew; empty where no program was kept
    machine: str  # empty where it does not matter
    date: str  # YYYY-MM-DD
    source: str = ""  # where the figures are from, if the command did not write the file itself
    tables: dict[str, Table]

    @model_validator(mode="before")
    @classmethod
    def _one_table(cls, data: Any) -> Any:
        if isinstance(data, dict) and "columns" in data:
            keys = data.keys() & Table.model_fields.keys()
            return {key: data[key] for key in data.keys() - keys} | {"tables": {ONLY: {key: data[key] for key in keys}}}
        return data

    def markdown(self, names: Collection[str] | None = None) -> str:
        """The named tables, or all, and one line that says what measured them."""
        tables = [table for name, table in self.tables.items() if names is None or name in names]
        origin = "; ".join(filter(None, (self.command and f"`{self.command}`", self.machine, self.date)))
        return "".join(table.markdown() for table in tables) + f"*{origin}.*\n\n"


def measured_here(tables: Mapping[str, Table], program: str) -> Measurement:
    """Tables of a command that runs now, on this machine; `program` is how the command is called, without options."""
    import torch

    from visual_echoes.machine import machine

    command = shlex.join([*shlex.split(program), *sys.argv[1:]])
    here = f"{machine()}, torch {torch.__version__}, threads: {torch.get_num_threads()}"
    return Measurement(command=command, machine=here, date=date.today().isoformat(), tables=dict(tables))


def write_measurement(measurement: Measurement, path: Path) -> Path:
    """Write the file, a row of a table on each line, whole or not at all; returns its path."""
    data = measurement.model_dump(mode="json", exclude_defaults=True)
    if measurement.tables.keys() == {ONLY}:
        data |= data.pop("tables")[ONLY]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, _json(data) + "\n")
    return path


def read_measurement(path: Path) -> Measurement:
    """Read such a file; `EchoesError` if it is missing or of another form."""
    try:
        return Measurement.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise EchoesError(f"{path} is no measurement ({where}: {error.errors()[0]['msg']}); measure anew.") from error
    except (OSError, ValueError) as error:
        raise EchoesError(f"{path} cannot be read ({error}); measure anew.") from error


def _text(cell: Cell, form: str) -> str:
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else format(cell, form).replace("%", " %")


def _json(value: object, margin: str = "") -> str:
    """JSON in which lists of plain values stand on one line."""
    inner = margin + "  "
    if isinstance(value, dict):
        items = [f"{inner}{json.dumps(key)}: {_json(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{margin}}}"
    if isinstance(value, list) and any(isinstance(item, list | dict) for item in value):
        return "[\n" + ",\n".join(inner + _json(item, inner) for item in value) + f"\n{margin}]"
    return json.dumps(value, ensure_ascii=False)
