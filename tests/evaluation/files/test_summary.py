"""Notes of a report: each stands there when it is true, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.files.material import Blocks, write_images, write_sounds
from visual_echoes.evaluation.files.case import Case
from visual_echoes.evaluation.files.listing import list_folder
from visual_echoes.evaluation.files.page import page
from visual_echoes.evaluation.files.protocol import FEWEST_HALVES, evaluate_files
from visual_echoes.evaluation.files.records import FilesReport
from visual_echoes.evaluation.files.scores import SPLITS
from visual_echoes.evaluation.files.summary import NO_MADE, NO_REAL, NO_TRIP, lines, warnings
from visual_echoes.layout import LAYOUTS

ROW_SETS = (("real",), ("real", "made"), ("real", "round trip"), ("real", "round trip", "made"))
COUNTS = (2, FEWEST_HALVES - 1, FEWEST_HALVES, SPLITS - 1, SPLITS)


def sounds_report(folder: Path, rows: tuple[str, ...], count: int) -> FilesReport:
    listings = {
        row: {"audio": list_folder(write_sounds(folder / row, count, seed), "audio")} for seed, row in enumerate(rows)
    }
    report, _ = evaluate_files(Case("sounds", ("audio",), listings, layout=LAYOUTS["digits"]), [Blocks()])  # type: ignore[arg-type]
    return report


def check_notes(report: FilesReport) -> None:
    """Every note of every row against what stands in the row."""
    texts = warnings(report)
    given = {row for row, record in report.rows.items() if record is not None}
    assert (NO_REAL in texts) == ("real" not in given)
    assert (NO_TRIP in texts) == ("real" in given and "round trip" not in given)
    assert (NO_MADE in texts) == ("made" not in given)
    for row, record in report.rows.items():
        for judged in [] if record is None else [found for side in record.judged.values() for found in side.values()]:
            missing_scores = [note for note in judged.notes if note.startswith("no inception score")]
            missing_distances = [note for note in judged.notes if note.startswith("no distances")]
            assert len(judged.notes) == len(missing_scores) + len(missing_distances)
            assert bool(missing_scores) == (judged.inception is None)
            assert bool(missing_distances) == (judged.frechet is None) == (judged.kernel is None)
            if missing_distances:
                assert ("no real files were given" in missing_distances[0]) == ("real" not in given)
                assert ("the halves need 4 real files or more" in missing_distances[0]) == (row == "real")
            if judged.frechet is not None:
                too_few = min(judged.frechet.items, judged.frechet.references) <= judged.frechet.dimensions
                assert (judged.frechet.warning is not None) == too_few


@pytest.mark.parametrize("rows", ROW_SETS, ids="-".join)
@pytest.mark.parametrize("count", COUNTS)
def test_a_note_stands_where_it_is_true(tmp_path: Path, rows: tuple[str, ...], count: int) -> None:
    check_notes(sounds_report(tmp_path, rows, count))


def test_pairs_alone_are_told_of_no_real_files_and_not_to_send_any_round(tmp_path: Path) -> None:
    made = {
        "image": list_folder(write_images(tmp_path / "p", 3), "image"),
        "audio": list_folder(write_sounds(tmp_path / "s", 3), "audio"),
    }
    case = Case("pairs", ("image", "audio"), {"made": made})  # type: ignore[dict-item]
    report, left = evaluate_files(case, [Blocks("image", "a"), Blocks("audio", "b")])
    check_notes(report)
    assert "of the real row" not in page(report, left)


def test_the_real_row_has_the_score_of_all_its_files_and_no_note_of_its_halves(tmp_path: Path) -> None:
    report = sounds_report(tmp_path, ("real", "made"), SPLITS)
    score = next(line for line in lines(report) if line.measure == "inception score")
    assert score.cells[0] != "-"
    assert not any("inception score" in text for text in warnings(report))


def test_a_few_real_files_are_not_said_to_be_missing(tmp_path: Path) -> None:
    report = sounds_report(tmp_path, ("real", "made"), 3)
    (text,) = [text for text in warnings(report) if "no distances" in text]
    assert text == "real, blocks: no distances: the halves need 4 real files or more, not 3"
