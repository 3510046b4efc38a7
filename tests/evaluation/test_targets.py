"""Targets are flagged by their bounds."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest

from visual_echoes.evaluation.records import Measures
from visual_echoes.evaluation.report import ClassesReport, ScenesReport
from visual_echoes.evaluation.targets import DIGITS, SCENES, TargetResult

AnyMeasures = TypeVar("AnyMeasures", bound=Measures)

CODES_IN_USE = (("round_trip", "pictures", "codebook", "usage"), ("round_trip", "audio_codebook", "usage"))
TOGETHER = ("generated", "pairs", "together")
# Where each target reads its figure, in the order of `DIGITS`; its bound; the next value that misses it.
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


def changed(measures: AnyMeasures, *changes: tuple[tuple[str, ...], float]) -> AnyMeasures:
    values: dict[str, Any] = measures.model_dump()
    for path, value in changes:
        place = values
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    return type(measures).model_validate(values)


@pytest.mark.parametrize("index", range(len(CASES)))
def test_each_target_is_met_at_its_bound_and_missed_beyond(perfect_report: ClassesReport, index: int) -> None:
    path, bound, beyond = CASES[index]
    used = [(place, 1.0) for place in CODES_IN_USE]  # the toys' codec uses few codes
    for value, met in ((bound, True), (beyond, False)):
        measures = changed(perfect_report.measures, *used, (path, value))
        results = [target.check(measures) for target in DIGITS]
        assert [result.met for result in results] == [met or place != index for place in range(len(DIGITS))]
        assert results[index].value == value


SOUNDS, PICTURES = (("generated", name, "judged", "right", "mean") for name in ("picture_to_sound", "sound_to_picture"))
LEVEL = ("generated", "picture_to_sound", "level")
SCENES_CASES: list[tuple[tuple[str, ...], float, float]] = [
    (("round_trip", "pictures", "right"), 0.45, 0.449),  # of real ones at one half
    (("round_trip", "sounds", "right"), 0.7201, 0.7199),  # of real ones at 0.8
    (SOUNDS, 0.55, 0.549),
    (PICTURES, 0.45, 0.449),
    ((*TOGETHER, "agree", "mean"), 0.60, 0.599),
    ((*TOGETHER, "groups_seen"), 10, 9),
    (("baselines", "wrong", "picture_to_sound", "judged", "right", "mean"), 0.599, 0.6),  # against 0.6
    (("unguided", "sound_to_picture", "judged", "right", "mean"), 0.499, 0.5),  # against 0.5
    ((*LEVEL, "clipped"), 0.0, 0.001),
    ((*LEVEL, "silent"), 0.0, 0.001),
    ((*LEVEL, "rms_db"), -17.0, -16.9),  # against -20
]


@pytest.mark.parametrize("index", range(len(SCENES_CASES)))
def test_each_target_of_scenes_too(scenes_report: ScenesReport, index: int) -> None:
    base = [
        (("real", "picture_accuracy"), 0.5), (("real", "sound_accuracy"), 0.8), (("real", "level", "rms_db"), -20.0),
        ((*LEVEL, "rms_db"), -20.0), (SOUNDS, 0.6), (PICTURES, 0.5),
        *(
            ((*column, direction, "judged", "right", "mean"), 0.3)
            for column in (("unguided",), ("baselines", "right"), ("baselines", "wrong"))
            for direction in ("picture_to_sound", "sound_to_picture")
        ),
    ]  # fmt: skip
    path, bound, beyond = SCENES_CASES[index]
    for value, met in ((bound, True), (beyond, False)):
        measures = changed(scenes_report.measures, *base, (path, value))
        results: list[TargetResult] = [target.check(measures) for target in SCENES]
        assert [result.met for result in results] == [met or place != index for place in range(len(SCENES))]


def test_a_lead_is_over_the_best_of_all(scenes_report: ScenesReport) -> None:
    leads = {t.name: t.value for t in scenes_report.targets if "lead" in t.name}
    assert list(leads.values()) == [0.0, 0.0]  # over a baseline that is always right
    alone = scenes_report.measures.model_copy(update={"baselines": {}, "unguided": None})
    assert [t.check(alone).value for t in SCENES if "lead" in t.name] == [1.0, 1.0]


def test_a_judge_that_is_never_right_keeps_nothing(scenes_report: ScenesReport) -> None:
    measures = changed(scenes_report.measures, (("real", "picture_accuracy"), 0.0))
    assert SCENES[0].check(measures).value == 0.0
