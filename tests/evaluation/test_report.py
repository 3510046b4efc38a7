"""A report survives its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.report import REPORT_FILE, ClassesReport, ScenesReport, read_report, write_report
from visual_echoes.evaluation.targets import DIGITS


def test_the_report_lists_every_target_and_passes_only_with_all(perfect_report: ClassesReport) -> None:
    assert len(perfect_report.targets) == len(DIGITS)
    assert [target.met for target in perfect_report.targets].count(False) == 2  # codes in use
    assert not perfect_report.passed
    met = tuple(target.model_copy(update={"met": True}) for target in perfect_report.targets)
    assert perfect_report.model_copy(update={"targets": met}).passed


def test_a_report_survives_its_file(perfect_report: ClassesReport, tmp_path: Path) -> None:
    path = write_report(perfect_report, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / REPORT_FILE
    assert read_report(path, ClassesReport) == perfect_report


def test_a_scenes_report_survives_its_file_and_is_no_other(
    scenes_report: ScenesReport, perfect_report: ClassesReport, tmp_path: Path
) -> None:
    assert read_report(write_report(scenes_report, tmp_path), ScenesReport) == scenes_report
    with pytest.raises(EchoesError, match="no readable report"):
        read_report(write_report(perfect_report, tmp_path), ScenesReport)


@pytest.mark.parametrize("content", [None, "", "{}", '{"version": 1', "[]"])
def test_what_is_no_report_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / REPORT_FILE).write_text(content)
    with pytest.raises(EchoesError, match=r"report\.json is no readable report"):
        read_report(tmp_path / REPORT_FILE, ClassesReport)
