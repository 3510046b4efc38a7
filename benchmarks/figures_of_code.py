"""Figures that documents give and the code decides: limits, defaults, sizes."""

from __future__ import annotations

from visual_echoes.evaluation.measurement import ONLY, Measurement, Table

SETTINGS = Measurement(
    command="python benchmarks/figures_of_code.py",
    machine="any",
    date="",
    tables={ONLY: Table(columns=("setting", "value"), rows=())},
)
