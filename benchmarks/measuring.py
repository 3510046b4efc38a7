"""What the programs of this folder share: tables go to the screen, and with `-o` into a file for the documents."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from visual_echoes.evaluation.measurement import Cell, Table, measured_here, write_measurement


def add_output(parser: argparse.ArgumentParser) -> None:
    """The option `-o`."""
    parser.add_argument("-o", "--output", type=Path, help="for the documents: docs/measurements/NAME.json")


def of_records(rows: Sequence[Mapping[str, Cell]], formats: Mapping[str, str]) -> Table:
    """A table whose columns are the keys of its rows."""
    return Table(columns=tuple(rows[0]), rows=tuple(tuple(row.values()) for row in rows), formats=dict(formats))


def show(tables: Mapping[str, Table], output: Path | None) -> None:
    """Print the tables, and write them with this program's command line, the machine and the day."""
    measurement = measured_here(tables, f"python benchmarks/{Path(sys.argv[0]).name}")
    print(measurement.markdown())
    if output is not None:
        write_measurement(measurement, output)
