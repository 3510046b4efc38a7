"""What experiments leave behind: a cell for every measurement, and a report over all of one experiment's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visual_echoes.evaluation.records import Record, Spread
from visual_echoes.files import write_text


class Cell(Record):
    """One variant measured with one seed."""

    figures: dict[str, float]
    seconds: float  # an item, on the machine and beside the work that there was


class Row(Record):
    """One variant over all seeds."""

    label: str
    x: float | None
    series: str
    figures: dict[str, Spread]


class ExperimentReport(Record):
    """All but `seconds` is the same every time on the same machine."""

    experiment: str
    question: str
    facts: dict[str, Any]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    finding: str
    seconds: dict[str, Spread]  # an item, by variant


def read_cell(path: Path) -> Cell | None:
    """A cell that was measured before; None if there is none that can be read."""
    try:
        return Cell.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_record(record: Record, path: Path) -> None:
    """Write a cell or a report, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, record.model_dump_json(indent=2) + "\n")


def spreads(cells: Sequence[Cell]) -> dict[str, Spread]:
    """Figures of one variant over its seeds."""
    return {name: Spread.of([cell.figures[name] for cell in cells]) for name in cells[0].figures}
