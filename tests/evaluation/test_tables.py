"""The report as people read it."""

from __future__ import annotations

import io

from rich.console import Console

from visual_echoes.evaluation.report import DigitsReport
from visual_echoes.evaluation.tables import NOTHING, markdown_table, print_report, report_tables


def test_targets_stand_with_value_bound_and_verdict(perfect_report: DigitsReport) -> None:
    targets, _ = report_tables(perfect_report)
    rows = {row[0]: row[1:] for row in targets.rows}
    assert rows["picture to sound: judged right"] == ("1.000", "at least 0.93", "yes")
    assert rows["picture codes in use"] == ("0.250", "at least 0.9", "no")
    assert rows["pairs from nothing: classes that appear"] == ("10", "at least 10", "yes")
    assert rows["pairs from nothing: share of the largest class"] == ("0.100", "at most 0.2", "yes")


def test_figures_of_all_columns_meet_in_one_row(perfect_report: DigitsReport) -> None:
    _, comparison = report_tables(perfect_report)
    assert comparison.columns == ("measure", "real", "round trip", "generated", "unguided")
    rows = {row[0]: row[1:] for row in comparison.rows}
    assert len(rows) == len(comparison.rows)
    assert rows["pictures judged right"] == ("1.000", "1.000", "1.000 ± 0.000", "1.000 ± 0.000")
    assert rows["picture PSNR, dB"] == (NOTHING, "120.0", NOTHING, NOTHING)
    assert rows["pairs agree, both at once"] == (NOTHING, NOTHING, "1.000 ± 0.000", "1.000 ± 0.000")
    for name in ("mel diversity", "nearest training picture, mean", "sound peak, dBFS", "silent sounds"):
        assert NOTHING not in rows[name]


def test_without_guidance_there_is_no_such_column(perfect_report: DigitsReport) -> None:
    measures = perfect_report.measures.model_copy(update={"unguided": None})
    _, comparison = report_tables(perfect_report.model_copy(update={"measures": measures}))
    assert comparison.columns == ("measure", "real", "round trip", "generated")
    assert {len(row) for row in comparison.rows} == {4}


def test_terminal_and_markdown_show_the_same_cells(perfect_report: DigitsReport) -> None:
    console = Console(file=io.StringIO(), width=200)
    print_report(perfect_report, console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    markdown = markdown_table(perfect_report)
    for table in report_tables(perfect_report):
        for row in (table.columns, *table.rows):
            assert "| " + " | ".join(row) + " |" in markdown.splitlines()
            assert all(cell in printed for cell in row)
