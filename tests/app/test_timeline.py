"""The timeline: frames at their times, a spectrogram that grows, and axes that say seconds and Hz as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.clips import clip
from visual_echoes.app.timeline import (
    _EMPTY,
    BANDS,
    FOOT,
    FRAME_SIZE,
    FRAMES,
    GAP,
    LABELS,
    LEFT,
    RIGHT,
    WIDTH,
    _labels,
    _pitches,
    draw_timeline,
    small_frames,
)
from visual_echoes.layout import LAYOUTS, get_layout

LAYOUT = get_layout("scenes")
RATE = LAYOUT.sample_rate


def tone(pitch: float, seconds: float) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def heard(drawn: np.ndarray) -> np.ndarray:
    """The rows and columns of the spectrogram."""
    foot = drawn.shape[0] - FOOT
    return drawn[foot - BANDS : foot, LEFT : LEFT + WIDTH]


@pytest.mark.parametrize("size", [(64, 48), (32, 96)])
def test_frames_lie_side_by_side_in_the_order_of_their_times(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "a.mp4").write_bytes(clip(40, size=size))
    frames = small_frames(tmp_path / "a.mp4")
    assert len(frames) == FRAMES
    assert all(frame.width <= FRAME_SIZE[0] and frame.height <= FRAME_SIZE[1] for frame in frames)
    drawn = draw_timeline(frames, 4.0, np.zeros(0, np.float32), LAYOUT)
    assert drawn.shape == (frames[0].height + 2 * GAP + BANDS + FOOT, LEFT + WIDTH + RIGHT, 3)
    middles = [LEFT + WIDTH * (2 * number + 1) // (2 * FRAMES) for number in range(FRAMES)]
    levels = drawn[GAP + frames[0].height // 2, middles].mean(-1)
    assert (np.diff(levels) > 0).all()  # the video grows brighter


@pytest.mark.parametrize("made", [0.0, 0.01, 2.5, 9.9, 10.0])
def test_the_spectrogram_reaches_as_far_as_the_sound_is_made(made: float) -> None:
    spectrogram = heard(draw_timeline([], 10.0, np.zeros(round(made * RATE), np.float32), LAYOUT))
    filled = (spectrogram != _EMPTY).any((0, 2))
    assert filled.sum() == round(WIDTH * made / 10)
    assert filled[: filled.sum()].all()


@pytest.mark.parametrize("pitch", [500, 1000, 2000, 4000])
def test_a_tone_lies_where_its_pitch_is_named(pitch: int) -> None:
    spectrogram = heard(draw_timeline([], 1.0, tone(pitch, 1.0), LAYOUT)).sum(-1, dtype=int)
    brightest = spectrogram[:, WIDTH // 2].argmax()
    named = BANDS - dict(_pitches(LAYOUT))[pitch] * BANDS
    assert abs(brightest + 0.5 - named) <= BANDS / LAYOUT.n_mels


def test_a_sound_lies_at_its_time() -> None:
    wave = np.concatenate([np.zeros(3 * RATE, np.float32), tone(1000, 1.0), np.zeros(4 * RATE, np.float32)])
    level = heard(draw_timeline([], 8.0, wave, LAYOUT)).sum((0, 2), dtype=int)
    loud = np.flatnonzero(level > (level.max() + level.min()) / 2)
    assert (loud[0], loud[-1]) == pytest.approx((WIDTH * 3 / 8, WIDTH * 4 / 8), abs=5)


@pytest.mark.parametrize("seconds", [0.04, 0.3, 1.0, 7.3, 10.0, 59.9, 120.0, 3600.0])
def test_times_are_named_at_round_steps(seconds: float) -> None:
    times = _labels(seconds)
    assert times[0] == 0
    assert times[-1] <= seconds * (1 + 1e-6)
    assert 2 <= len(times) <= LABELS + 1
    assert all(len(f"{time:g}") <= 6 for time in times)


def test_pitches_are_those_that_the_model_hears() -> None:
    for layout in LAYOUTS.values():
        pitches = _pitches(layout)
        assert len(pitches) >= 3
        assert all(layout.fmin < pitch < layout.fmax and 0 < place < 1 for pitch, place in pitches)
        assert pitches == sorted(pitches, key=lambda pair: pair[1])


def test_a_sound_of_a_few_samples_is_drawn() -> None:
    image = Image.fromarray(draw_timeline([], 1e-3, np.zeros(16, np.float32), LAYOUT))
    assert image.width == LEFT + WIDTH + RIGHT
