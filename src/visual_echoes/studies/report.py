"""What experiments leave behind: a cell for every measurement, and a report over all of one experiment's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from visual_echoes.evaluation.records import Figure, Record


def _renamed(figures: Any) -> Any:
    """Figures under their names of today: version 0.1 called images pictures."""
    return {name.replace("picture_", "image_"): value for name, value in figures.items()}


class Cell(Record):
    """One variant measured with one seed."""

    figures: dict[str, float]
    seconds: float  # an item, on the machine and beside the work that there was


class Row(Record):
    """One variant over all seeds."""

    label: str
    x: float | None
    series: str
    figures: Annotated[dict[str, Figure], BeforeValidator(_renamed)]


class ExperimentReport(Record):
    """All but `seconds` is the same every time on the same machine."""

    experiment: str
    question: str
    facts: dict[str, Any]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    finding: str
    seconds: dict[str, Figure]  # an item, by variant


def read_cell(path: Path) -> Cell | None:
    """A cell that was measured before; None if there is none that can be read."""
    try:
        return Cell.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def over_seeds(cells: Sequence[Cell]) -> dict[str, Figure]:
    """Figures of one variant over its seeds."""
    return {name: Figure.of_seeds([cell.figures[name] for cell in cells]) for name in cells[0].figures}
