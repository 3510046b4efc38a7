"""What clips in time share: times of frames, and where a sound begins and ends."""

from __future__ import annotations

import numpy as np
import pytest

import tiny
from visual_echoes.data.clips_in_time import draw_times, sounding
from visual_echoes.errors import EchoesError
from visual_echoes.media.mp4 import FRAME_RATE


def test_times_keep_their_distances_and_fall_on_frames() -> None:
    generator, frame = tiny.generator(0), 1 / FRAME_RATE
    for _ in range(100):
        times = draw_times(3, 4.0, 0.3, 0.5, 0.7, generator)
        assert times[0] >= 0.3 - frame
        assert min(np.diff(times)) >= 0.5 - frame
        assert times[-1] <= 3.3 + frame
        assert all(abs(time * FRAME_RATE - round(time * FRAME_RATE)) < 1e-9 for time in times)


def test_a_clip_too_short_for_its_events_is_refused() -> None:
    with pytest.raises(EchoesError, match="1 s are too short for 3 events"):
        draw_times(3, 1.0, 0.3, 0.5, 0.7, tiny.generator(0))


def test_a_sound_goes_from_its_onset_to_its_last_loud_part() -> None:
    wave = np.full(2000, 0.001, np.float32)
    wave[400:900] = 0.5
    assert sounding(wave, 8000) == slice(400, 960)
    assert sounding(np.zeros(160, np.float32), 8000) == slice(0, 160)
