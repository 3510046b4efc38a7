"""Targets are flagged by their bounds."""

from __future__ import annotations

import pytest

from visual_echoes.evaluation.records import Column, Figure, Report
from visual_echoes.evaluation.targets import DIGITS, SCENES

# Column and name of the figure that each target reads, in their order; its bound; the next value that misses it.
Case = tuple[str, str, float, float]
CASES: list[Case] = [
    ("real", "image_right", 0.98, 0.979),
    ("real", "sound_right", 0.97, 0.969),
    ("round trip", "image_kept", 0.97, 0.969),
    ("round trip", "sound_kept", 0.95, 0.949),
    ("round trip", "image_codes", 0.90, 0.899),
    ("round trip", "sound_codes", 0.90, 0.899),
    ("generated", "sound_right", 0.93, 0.929),
    ("generated", "image_right", 0.93, 0.929),
    ("generated", "pairs_agree", 0.90, 0.899),
    ("generated", "pairs_missing", 0, 1),
    ("generated", "pairs_largest", 0.20, 0.201),
    ("generated", "image_diversity", 0.8, 0.799),
]


def changed(report: Report, *changes: tuple[str, str, float]) -> dict[str, Column]:
    columns = dict(report.columns)
    for column, name, value in changes:
        columns[column] = columns[column] | Column(figures={name: Figure(value=value)})
    return columns


@pytest.mark.parametrize("index", range(len(CASES)))
def test_each_target_is_met_at_its_bound_and_missed_beyond(perfect_report: Report, index: int) -> None:
    column, name, bound, beyond = CASES[index]
    used = [("round trip", f"{word}_codes", 1.0) for word in ("image", "sound")]  # the toys' codec uses few codes
    for value, met in ((bound, True), (beyond, False)):
        results = [goal.check(changed(perfect_report, *used, (column, name, value))) for goal in DIGITS]
        assert [result.met for result in results] == [met or other != index for other in range(len(DIGITS))]
        assert results[index].value == value


SCENES_CASES: list[Case] = [
    ("round trip", "image_right", 0.4401, 0.4399),  # of real ones at one half
    ("round trip", "sound_right", 0.6801, 0.6799),  # of real ones at 0.8
    ("generated", "sound_right", 0.70, 0.699),
    ("generated", "image_right", 0.55, 0.549),
    ("generated", "pairs_agree", 0.65, 0.649),
    ("generated", "pairs_missing", 0, 1),
    ("generated", "pairs_largest", 0.15, 0.151),
    ("wrong", "sound_right", 0.749, 0.75),  # against 0.75
    ("unguided", "image_right", 0.599, 0.6),  # against 0.6
    ("generated", "sound_clipped", 0.0, 0.001),
    ("generated", "sound_silent", 0.0, 0.001),
    ("generated", "sound_rms", -18.0, -17.9),  # against -20
]


@pytest.mark.parametrize("index", range(len(SCENES_CASES)))
def test_each_target_of_scenes_too(scenes_report: Report, index: int) -> None:
    base = [
        ("real", "image_right", 0.5), ("real", "sound_right", 0.8), ("real", "sound_rms", -20.0),
        ("generated", "sound_rms", -20.0), ("generated", "sound_right", 0.75), ("generated", "image_right", 0.6),
        *((column, f"{word}_right", 0.3) for column in ("unguided", "right", "wrong") for word in ("image", "sound")),
    ]  # fmt: skip
    column, name, bound, beyond = SCENES_CASES[index]
    for value, met in ((bound, True), (beyond, False)):
        results = [goal.check(changed(scenes_report, *base, (column, name, value))) for goal in SCENES]
        assert [result.met for result in results] == [met or other != index for other in range(len(SCENES))]


def test_a_report_lists_every_target(perfect_report: Report) -> None:
    assert [target.name for target in perfect_report.targets] == [goal.name for goal in DIGITS]
    assert [target.met for target in perfect_report.targets].count(False) == 2  # codes in use


def test_a_lead_is_over_the_best_of_all(scenes_report: Report) -> None:
    leads = [target.value for target in scenes_report.targets if "lead" in target.name]
    assert leads == [0.0, 0.0]  # over a baseline that is always right
    alone = {name: scenes_report.columns[name] for name in ("real", "round trip", "generated")}
    assert [goal.check(alone).value for goal in SCENES if "lead" in goal.name] == [1.0, 1.0]


def test_a_classifier_that_is_never_right_keeps_nothing(scenes_report: Report) -> None:
    assert SCENES[0].check(changed(scenes_report, ("real", "image_right", 0.0))).value == 0.0
