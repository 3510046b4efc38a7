"""The report as people read it."""

from __future__ import annotations

import io

from rich.console import Console

from visual_echoes.evaluation.measurement import measured_here
from visual_echoes.evaluation.report import ClassesReport, ScenesReport
from visual_echoes.evaluation.tables import NOTHING, print_report, report_tables


def test_targets_stand_with_value_bound_and_verdict(perfect_report: ClassesReport) -> None:
    targets = report_tables(perfect_report)["targets"]
    rows = {row[0]: row[1:] for row in targets.rows}
    assert rows["image to sound: judged right"] == ("1.000", "at least 0.93", "yes")
    assert rows["image codes in use"] == ("0.250", "at least 0.9", "no")
    assert rows["pairs from nothing: classes that appear"] == ("10", "at least 10", "yes")
    assert rows["pairs from nothing: share of the largest class"] == ("0.100", "at most 0.2", "yes")


def test_figures_of_all_columns_meet_in_one_row(perfect_report: ClassesReport) -> None:
    comparison = report_tables(perfect_report)["all"]
    assert comparison.columns == ("measure", "real", "round trip", "generated", "unguided")
    rows = {row[0]: row[1:] for row in comparison.rows}
    assert len(rows) == len(comparison.rows)
    assert rows["images judged right"] == ("1.000", "1.000", "1.000 ± 0.000", "1.000 ± 0.000")
    assert rows["image PSNR, dB"] == (NOTHING, "120.0", NOTHING, NOTHING)
    assert rows["pairs agree, both at once"] == (NOTHING, NOTHING, "1.000 ± 0.000", "1.000 ± 0.000")
    for name in ("mel diversity", "nearest training image, mean", "sound peak, dBFS", "silent sounds"):
        assert NOTHING not in rows[name]


def test_without_guidance_there_is_no_such_column(perfect_report: ClassesReport) -> None:
    measures = perfect_report.measures.model_copy(update={"unguided": None})
    comparison = report_tables(perfect_report.model_copy(update={"measures": measures}))["all"]
    assert comparison.columns == ("measure", "real", "round trip", "generated")
    assert {len(row) for row in comparison.rows} == {4}


def test_terminal_and_markdown_show_the_same_cells(perfect_report: ClassesReport) -> None:
    console = Console(file=io.StringIO(), width=200)
    print_report(perfect_report, console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    markdown = measured_here(report_tables(perfect_report), "echoes evaluate digits").markdown()
    for table in report_tables(perfect_report).values():
        for row in (table.columns, *table.texts()):
            assert "| " + " | ".join(row) + " |" in markdown.splitlines()
            assert all(cell in printed for cell in row)


def test_baselines_and_second_opinions_stand_in_columns_of_their_own(scenes_report: ScenesReport) -> None:
    comparison = report_tables(scenes_report)["all"]
    assert comparison.columns == ("measure", "real", "round trip", "generated", "unguided", "right", "wrong")
    rows = {row[0]: row[1:] for row in comparison.rows}
    assert len(rows) == len(comparison.rows)
    assert rows["sounds judged right"][3:] == ("1.000 ± 0.000", "1.000 ± 0.000", "0.000 ± 0.000")
    assert rows["images right by one-track mind 1.0"] == ("0.100 ± 0.000",) * 6
    assert rows["second opinion on sounds: none: not installed, or not for these classes"] == (NOTHING,) * 6


def test_distances_never_stand_without_how_many_they_are_of(scenes_report: ScenesReport) -> None:
    distances = report_tables(scenes_report)["distances"]
    assert "not FID, not FAD" in distances.title
    rows = {row[:2]: row[2:] for row in distances.rows}
    assert len(rows) == 2 * 6
    *_, counts, warning = rows["sounds", "real"]
    assert (counts, warning) == ("10 / 20", "fewer than 11 items, too few for a covariance of full rank")
    look = scenes_report.measures.looks["wrong"]["image"].distance
    assert rows["pictures", "wrong"][0] == f"{look.frechet_judge:.3f}"
    assert rows["pictures", "wrong"][1].startswith(f"{look.kid_judge:.4f} (")
    assert rows["pictures", "wrong"][2:] == ("80 / 30", NOTHING)


def test_each_direction_has_its_confusion_matrix(scenes_report: ScenesReport) -> None:
    tables = report_tables(scenes_report)
    to_sound, to_image, pairs = (tables[name] for name in ("picture-to-sound", "sound-to-picture", "pairs"))
    assert to_sound.columns == ("", *scenes_report.groups)
    assert to_sound.rows[2] == ("2", 0, 0, 6, *(0,) * 7)  # three images, two seeds
    assert to_image.rows[2] == ("2", 0, 0, 8, *(0,) * 7)
    assert pairs.rows[9][10] == 4
