"""Sounds as the page draws them: as long as they are made, at their time, with what is marked."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.clips import clip
from visual_echoes.app.long_views import timeline
from visual_echoes.app.plots import COLUMNS, Plot
from visual_echoes.app.timeline import FRAME_SIZE, FRAMES, WIDTH, small_frames, strip
from visual_echoes.layout import get_layout

LAYOUT = get_layout("scenes")
RATE = LAYOUT.sample_rate


def mel_image(html: str) -> np.ndarray:
    content = re.search(r'class="mel" src="data:image/png;base64,([^"]+)"', html)
    assert content is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content[1]))))


@pytest.mark.parametrize("made", [0.01, 2.5, 9.9, 10.0])
def test_a_plot_reaches_as_far_as_the_sound_is_made(made: float) -> None:
    html = timeline([], 10.0, np.zeros(round(made * RATE), np.float32), LAYOUT)
    assert html.count(f"width:{made / 10:.2%}") == 2  # spectrogram and waveform
    assert f"{made:.1f} of 10.0 s are made" in html


def test_nothing_is_drawn_of_what_is_not_made() -> None:
    html = timeline([], 10.0, np.zeros(0, np.float32), LAYOUT)
    assert "Mel spectrogram" not in html
    assert "Waveform" not in html
    assert ">10</span>" in html


def test_a_sound_lies_at_its_time() -> None:
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)).astype(np.float32)
    wave = np.concatenate([np.zeros(3 * RATE, np.float32), tone, np.zeros(16 * RATE, np.float32)])
    pixels = mel_image(timeline([], 20.0, wave, LAYOUT))
    assert pixels.shape == (LAYOUT.n_mels, COLUMNS, 3)
    level = pixels.sum((0, 2), dtype=int)
    loud = np.flatnonzero(level > (level.max() + level.min()) / 2)
    assert (loud[0], loud[-1]) == pytest.approx((COLUMNS * 3 / 20, COLUMNS * 4 / 20), abs=5)


def test_a_stretch_is_marked_where_it_lies() -> None:
    plot = Plot("<a>", LAYOUT, np.zeros((LAYOUT.n_mels, 512), np.float32), np.zeros(4 * RATE), marked=(1.0, 9.0))
    assert 'style="left:25.00%;width:75.00%"' in plot.html()
    assert "<a>" not in plot.html()


@pytest.mark.parametrize("size", [(64, 48), (32, 96)])
def test_frames_lie_side_by_side_in_the_order_of_their_times(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "a.mp4").write_bytes(clip(40, size=size))
    frames = small_frames(tmp_path / "a.mp4")
    assert len(frames) == FRAMES
    assert all(frame.width <= FRAME_SIZE[0] and frame.height <= FRAME_SIZE[1] for frame in frames)
    drawn = np.asarray(strip(frames))
    assert drawn.shape == (frames[0].height, WIDTH, 3)
    levels = drawn[frames[0].height // 2, [WIDTH * (2 * number + 1) // (2 * FRAMES) for number in range(FRAMES)]].mean(
        -1
    )
    assert (np.diff(levels) > 0).all()  # the video grows brighter
