"""Targets are flagged by their bounds, and a report survives its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from visual_echoes.errors import EchoesError
from visual_echoes.evaluation.records import Measures
from visual_echoes.evaluation.report import REPORT_FILE, TARGETS, DigitsReport, read_report, write_report

CODES_IN_USE = (("round_trip", "pictures", "codebook", "usage"), ("round_trip", "audio_codebook", "usage"))
TOGETHER = ("generated", "pairs", "together")
# Where each target reads its figure, in the order of `TARGETS`; its bound; the next value that misses it.
CASES: list[tuple[tuple[str, ...], float, float]] = [
    (("real", "picture_accuracy"), 0.98, 0.979),
    (("real", "sound_accuracy"), 0.97, 0.969),
    (("round_trip", "pictures", "kept"), 0.97, 0.969),
    (("round_trip", "sounds", "kept"), 0.95, 0.949),
    (CODES_IN_USE[0], 0.90, 0.899),
    (CODES_IN_USE[1], 0.90, 0.899),
    (("generated", "picture_to_sound", "judged", "right", "mean"), 0.93, 0.929),
    (("generated", "sound_to_picture", "judged", "right", "mean"), 0.93, 0.929),
    ((*TOGETHER, "agree", "mean"), 0.90, 0.899),
    ((*TOGETHER, "groups_seen"), 10, 9),
    ((*TOGETHER, "largest_share"), 0.20, 0.201),
    (("generated", "sound_to_picture", "diversity", "ratio", "mean"), 0.8, 0.799),
]


def changed(measures: Measures, *changes: tuple[tuple[str, ...], float]) -> Measures:
    values: dict[str, Any] = measures.model_dump()
    for path, value in changes:
        place = values
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    return Measures.model_validate(values)


@pytest.mark.parametrize("index", range(len(CASES)))
def test_each_target_is_met_at_its_bound_and_missed_beyond(perfect_report: DigitsReport, index: int) -> None:
    path, bound, beyond = CASES[index]
    used = [(place, 1.0) for place in CODES_IN_USE]  # the toys' codec uses few codes
    for value, met in ((bound, True), (beyond, False)):
        measures = changed(perfect_report.measures, *used, (path, value))
        results = [target.check(measures) for target in TARGETS]
        assert [result.met for result in results] == [met or place != index for place in range(len(TARGETS))]
        assert results[index].value == value


def test_the_report_lists_every_target_and_passes_only_with_all(perfect_report: DigitsReport) -> None:
    assert len(perfect_report.targets) == len(TARGETS) == len(CASES)
    assert [target.met for target in perfect_report.targets].count(False) == 2  # codes in use
    assert not perfect_report.passed
    met = tuple(target.model_copy(update={"met": True}) for target in perfect_report.targets)
    assert perfect_report.model_copy(update={"targets": met}).passed


def test_a_report_survives_its_file(perfect_report: DigitsReport, tmp_path: Path) -> None:
    path = write_report(perfect_report, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / REPORT_FILE
    assert read_report(path) == perfect_report


@pytest.mark.parametrize("content", [None, "", "{}", '{"version": 1', "[]"])
def test_what_is_no_report_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / REPORT_FILE).write_text(content)
    with pytest.raises(EchoesError, match=r"report\.json is no readable report"):
        read_report(tmp_path / REPORT_FILE)
