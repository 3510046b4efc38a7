"""Measurements say what made them; tables show their cells as their formats say."""

from __future__ import annotations

import sys
from datetime import date

import pytest
import torch
from pydantic import ValidationError

from visual_echoes.evaluation.measurement import ONLY, Measurement, Table, measured_here
from visual_echoes.machine import machine


def test_a_measurement_names_its_command_machine_and_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/serving.py", "--model", "my model"])
    made = measured_here({ONLY: Table(columns=("a",), rows=())}, "python benchmarks/serving.py")
    assert made.command == "python benchmarks/serving.py --model 'my model'"
    assert made.machine.startswith(f"{machine()}, torch {torch.__version__}, threads: ")
    assert made.date == date.today().isoformat()


def test_cells_are_shown_by_their_column_s_format() -> None:
    table = Table(
        columns=("what", "share", "count", "text"),
        rows=(("a | b", 0.65, 1800, None), ("c", 0.5, 0.25, "-")),
        formats={"share": "+.1%"},
    )
    assert table.texts() == [("a | b", "+65.0 %", "1,800", ""), ("c", "+50.0 %", "0.25", "-")]
    assert r"| a \| b | +65.0 % | 1,800 |  |" in table.markdown().splitlines()


@pytest.mark.parametrize(
    "wrong", [{"columns": ["a"], "rows": [[1, 2]]}, {"columns": ["a"], "rows": [], "formats": {"b": ".2f"}}]
)
def test_tables_that_do_not_fit_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"as many cells|formats name no column: b"):
        Measurement.model_validate({"command": "", "machine": "", "date": "2026-01-02", **wrong})
