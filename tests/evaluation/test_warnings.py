"""Notes of a report: each stands there when it is true, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.material import Blocks, write_images, write_sounds
from visual_echoes.evaluation.case import Case
from visual_echoes.evaluation.file_sets import NO_ROW, evaluate_files
from visual_echoes.evaluation.listing import list_folder
from visual_echoes.evaluation.measuring import FEWEST_HALVES
from visual_echoes.evaluation.page import page
from visual_echoes.evaluation.records import Report
from visual_echoes.evaluation.tables import report_tables
from visual_echoes.layout import LAYOUTS
from visual_echoes.metrics.scores import SPLITS

ROW_SETS = (("real",), ("real", "made"), ("real", "round trip"), ("real", "round trip", "made"))
COUNTS = (2, FEWEST_HALVES - 1, FEWEST_HALVES, SPLITS - 1, SPLITS)


def sounds_report(folder: Path, rows: tuple[str, ...], count: int) -> Report:
    listings = {
        row: {"audio": list_folder(write_sounds(folder / row, count, seed), "audio")} for seed, row in enumerate(rows)
    }
    report, _ = evaluate_files(Case(("audio",), listings, layout=LAYOUTS["digits"]), [Blocks()])  # type: ignore[arg-type]
    return report


def check_notes(report: Report) -> None:
    """Every note of every column against what stands in it."""
    texts, given = report.warnings, report.columns
    assert (NO_ROW["real"] in texts) == ("real" not in given)
    assert (NO_ROW["round trip"] in texts) == ("real" in given and "round trip" not in given)
    assert (NO_ROW["made"] in texts) == ("made" not in given)
    for row, column in given.items():
        for name in report.backbones:
            notes = [note.removeprefix(f"{name}: ") for note in column.notes if note.startswith(f"{name}: ")]
            missing_scores = [note for note in notes if note.startswith("no inception score")]
            missing_distances = [note for note in notes if note.startswith("no distances")]
            frechet = column.figures.get(f"{name}_frechet")
            assert len(notes) == len(missing_scores) + len(missing_distances)
            assert bool(missing_scores) == (f"{name}_inception" not in column.figures)
            assert bool(missing_distances) == (frechet is None) == (f"{name}_kid" not in column.figures)
            if missing_distances:
                assert ("no real files were given" in missing_distances[0]) == ("real" not in given)
                assert ("the halves need 4 real files or more" in missing_distances[0]) == (row == "real")
            if frechet is not None:
                assert frechet.items is not None
                assert frechet.references is not None
                assert frechet.dimensions is not None
                too_few = min(frechet.items, frechet.references) <= frechet.dimensions
                assert (frechet.warning is not None) == too_few
                assert any("biased upwards" in text and text.startswith(f"{row}, ") for text in texts) == too_few


@pytest.mark.parametrize("rows", ROW_SETS, ids="-".join)
@pytest.mark.parametrize("count", COUNTS)
def test_a_note_stands_where_it_is_true(tmp_path: Path, rows: tuple[str, ...], count: int) -> None:
    check_notes(sounds_report(tmp_path, rows, count))


def test_pairs_alone_are_told_of_no_real_files_and_not_to_send_any_round(tmp_path: Path) -> None:
    made = {
        "image": list_folder(write_images(tmp_path / "p", 3), "image"),
        "audio": list_folder(write_sounds(tmp_path / "s", 3), "audio"),
    }
    case = Case(("image", "audio"), {"made": made})  # type: ignore[dict-item]
    report, left = evaluate_files(case, [Blocks("image", "a"), Blocks("audio", "b")])
    check_notes(report)
    assert "of the real row" not in page(report, left)


def test_the_real_row_has_the_score_of_all_its_files_and_no_note_of_its_halves(tmp_path: Path) -> None:
    report = sounds_report(tmp_path, ("real", "made"), SPLITS)
    (score,) = [row for row in report_tables(report)["all"].rows if str(row[0]).startswith("inception score")]
    assert score[1] != "-"
    assert not any("inception score" in text for text in report.warnings)


def test_a_few_real_files_are_not_said_to_be_missing(tmp_path: Path) -> None:
    report = sounds_report(tmp_path, ("real", "made"), 3)
    (text,) = [text for text in report.warnings if "no distances" in text]
    assert text == "real, blocks: no distances: the halves need 4 real files or more, not 3"
