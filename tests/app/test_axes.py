"""Axes that say seconds, hertz and decibels as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from visual_echoes.app.axes import LEVELS, TIMES, level_marks, pitch_marks, time_marks
from visual_echoes.audio import long_mel
from visual_echoes.layout import LAYOUTS, get_layout


@pytest.mark.parametrize("seconds", [0.04, 0.3, 1.0, 7.3, 10.0, 59.9, 120.0, 3600.0])
def test_times_are_named_at_round_steps(seconds: float) -> None:
    marks = time_marks(seconds)
    assert marks[0] == ("0", 0)
    assert 2 <= len(marks) <= TIMES + 1
    assert all(len(text) <= 6 and float(text) == pytest.approx(place * seconds) for text, place in marks)


def test_pitches_are_those_that_the_model_hears() -> None:
    for layout in LAYOUTS.values():
        marks = pitch_marks(layout)
        assert len(marks) >= 3
        assert all(layout.fmin < float(text) < layout.fmax and 0 < place < 1 for text, place in marks)
        assert all(np.diff([place for _, place in marks]) >= 0.1)


@pytest.mark.parametrize("pitch", ["500", "1000", "2000", "4000"])
def test_a_tone_lies_where_its_pitch_is_named(pitch: str) -> None:
    layout = get_layout("scenes")
    wave = 0.5 * np.sin(2 * np.pi * float(pitch) * np.arange(layout.sample_rate) / layout.sample_rate)
    mel = long_mel(torch.from_numpy(wave.astype(np.float32))[None], layout)[0].numpy()
    loudest = (mel[:, mel.shape[1] // 2].argmax() + 0.5) / layout.n_mels
    assert abs(loudest - dict(pitch_marks(layout))[pitch]) <= 1 / layout.n_mels


def test_levels_reach_from_the_loudest_down_to_the_floor() -> None:
    marks = {name: level_marks(get_layout(name)) for name in ("scenes", "digits")}
    assert marks["scenes"] == [("0", 1), ("-40", pytest.approx(2 / 3)), ("-80", pytest.approx(1 / 3)), ("-120", 0)]
    assert [text for text, _ in marks["digits"]] == ["0", "-20", "-40", "-60", "-80"]
    assert all(2 <= len(level_marks(layout)) <= LEVELS + 1 for layout in LAYOUTS.values())
