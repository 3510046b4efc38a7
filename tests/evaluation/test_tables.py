"""The report as people read it."""

from __future__ import annotations

import io

from rich.console import Console

from visual_echoes.evaluation.measurement import measured_here
from visual_echoes.evaluation.page import page
from visual_echoes.evaluation.records import Report
from visual_echoes.evaluation.tables import NOTHING, print_report, report_tables


def rows_of(report: Report, table: str) -> dict[str, tuple[str, ...]]:
    found = report_tables(report)[table]
    rows = {row[0]: row[1:] for row in found.texts()}
    assert len(rows) == len(found.rows)
    return rows


def test_targets_stand_with_value_bound_and_verdict(perfect_report: Report) -> None:
    rows = rows_of(perfect_report, "targets")
    assert rows["image to sound: classified right"] == ("1.000", "at least 0.93", "yes")
    assert rows["image codes in use"] == ("0.250", "at least 0.9", "no")
    assert rows["pairs from nothing: classes that never appear"] == ("0.000", "at most 0", "yes")
    assert rows["pairs from nothing: share of the most frequent class"] == ("0.100", "at most 0.2", "yes")


def test_figures_of_all_columns_meet_in_one_row(perfect_report: Report) -> None:
    assert report_tables(perfect_report)["all"].columns == ("measure", "real", "round trip", "generated", "unguided")
    rows = rows_of(perfect_report, "all")
    assert rows["images classified right"] == ("1.000", "1.000", "1.000 ± 0.000", "1.000 ± 0.000")
    assert rows["PSNR of images, dB"] == (NOTHING, "120.0", NOTHING, NOTHING)
    assert rows["pairs that agree"] == (NOTHING, NOTHING, "1.000 ± 0.000", "1.000 ± 0.000")
    for name in ("diversity of sounds, real is 1", "nearest training image, mean", "sound peak, dBFS", "silent sounds"):
        assert NOTHING not in rows[name]


def test_terminal_and_markdown_show_the_same_cells(perfect_report: Report) -> None:
    console = Console(file=io.StringIO(), width=300)
    print_report(perfect_report, console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    markdown = measured_here(report_tables(perfect_report), "echoes evaluate digits").markdown()
    for table in report_tables(perfect_report).values():
        for row in (table.columns, *table.texts()):
            assert "| " + " | ".join(row) + " |" in markdown.splitlines()
            assert all(cell in printed for cell in row)


def test_the_page_of_a_model_shows_targets_and_figures(scenes_report: Report) -> None:
    text = page(scenes_report)
    for target in scenes_report.targets:
        assert target.name in text
    assert text.count("<svg") == 2  # kernel distances of images and of sounds
    assert "neither FID nor FAD" in text
    assert "<h2>Files</h2>" not in text


def test_baselines_and_second_opinions_stand_in_columns_of_their_own(scenes_report: Report) -> None:
    columns = report_tables(scenes_report)["all"].columns
    assert columns == ("measure", "real", "round trip", "generated", "unguided", "right", "wrong")
    rows = rows_of(scenes_report, "all")
    assert rows["sounds classified right"][3:] == ("1.000 ± 0.000", "1.000 ± 0.000", "0.000 ± 0.000")
    assert rows["images right by the second opinion"] == ("0.100",) * 2 + ("0.100 ± 0.000",) * 4
    assert "sounds right by the second opinion" not in rows
    assert scenes_report.backbones["image second opinion"].title == "own classifier classifier"


def test_distances_never_stand_without_how_many_they_are_of(scenes_report: Report) -> None:
    table = report_tables(scenes_report)["distances"]
    rows = {row[0]: dict(zip(table.columns[1:], row[1:], strict=True)) for row in table.texts()}
    assert list(rows) == list(scenes_report.columns)
    assert rows["real"]["Fréchet distance of sounds"].endswith("! (n = 10 and 20 items)")
    assert rows["wrong"]["kernel distance of images"].endswith("] (n = 80 and 30 items)")
    assert any("10 items are fewer than the 11 that 10 features need" in text for text in scenes_report.warnings)


def test_each_direction_has_its_confusion_matrix(scenes_report: Report) -> None:
    tables = report_tables(scenes_report)
    to_sound, to_image, pairs = (tables[name] for name in ("picture-to-sound", "sound-to-picture", "pairs"))
    assert to_sound.columns == ("", *map(str, range(10)))
    assert to_sound.rows[2] == ("2", 0, 0, 6, *(0,) * 7)  # three images, two seeds
    assert to_image.rows[2] == ("2", 0, 0, 8, *(0,) * 7)
    assert pairs.rows[9][10] == 4
