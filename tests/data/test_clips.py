"""Frames and sound windows of prepared clips come from where the manifest says, in the layout's shape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from data.prepare.clips import write_image, write_sound, write_video
from visual_echoes.data.clips import read_clip_image, read_clip_images, read_clip_sound, window_offsets
from visual_echoes.data.manifest import Clip
from visual_echoes.errors import EchoesError
from visual_echoes.layout import LAYOUTS, Layout
from visual_echoes.media import write_wav

LAYOUT = tiny.LAYOUT  # 0.256 s at 8 kHz


def clip(
    picture: str, sound: str, start: float = 0.0, seconds: float = 1.0, frames: tuple[float, ...] = (0.0,)
) -> Clip:
    return Clip("a", "train", None, picture, sound, start, seconds, frames, "a", {})


def ramp(path: Path, seconds: float) -> None:
    """A sound whose samples tell their time: rising by 0.1 a second."""
    samples = round(seconds * LAYOUT.sample_rate)
    write_wav(path, np.arange(samples, dtype=np.float32) / LAYOUT.sample_rate / 10, LAYOUT.sample_rate, {})


LEVEL = replace(LAYOUT, peak=None)


def test_frames_of_a_video_at_their_times(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 2.0)  # a white bar that grows for two seconds
    late = clip("a.mp4", "a.mp4", start=1.0, frames=(0.05, 0.55, 0.95))
    pictures = read_clip_images(late, tmp_path, range(3), LAYOUT)
    assert pictures.dtype == torch.uint8
    assert pictures.shape == (3, LAYOUT.image_channels, LAYOUT.image_size, LAYOUT.image_size)
    shares = pictures.float().mean((1, 2, 3)) / 255
    # Frame n of 20 is white up to (8 + 56 n / 20) of 64 columns, of which the centre square is columns 8 to 56.
    np.testing.assert_allclose(shares, [min(1, 56 * n / 20 / 48) for n in (10, 15, 19)], atol=0.05)
    for frame in range(3):
        assert torch.equal(read_clip_image(late, tmp_path, frame, LAYOUT), pictures[frame])


def test_a_still_image_and_an_absolute_path(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png")
    pictures = read_clip_images(clip(str(path), "a.wav"), Path("/nowhere"), [0], LAYOUT)
    assert pictures.shape == (1, 1, LAYOUT.image_size, LAYOUT.image_size)


@pytest.mark.parametrize("offset", [0.0, 0.3, 0.744])
def test_a_window_begins_at_its_offset(tmp_path: Path, offset: float) -> None:
    ramp(tmp_path / "a.wav", 4.0)
    wave = read_clip_sound(clip("a.png", "a.wav", start=2.5), tmp_path, LEVEL, offset)
    assert wave.dtype == torch.float32
    assert wave.shape == (LAYOUT.clip_samples,)
    times = 2.5 + offset + np.arange(LAYOUT.clip_samples) / LAYOUT.sample_rate
    np.testing.assert_allclose(wave, times / 10, atol=1e-4)


@pytest.mark.parametrize(("offset", "silent"), [(-0.016, slice(0, 128)), (0.76, slice(2048 - 128, 2048))])
def test_what_lies_outside_of_the_clip_is_silent(tmp_path: Path, offset: float, silent: slice) -> None:
    ramp(tmp_path / "a.wav", 4.0)
    wave = read_clip_sound(clip("a.png", "a.wav", start=2.0), tmp_path, LEVEL, offset)
    heard = torch.ones(LAYOUT.clip_samples, dtype=torch.bool)
    heard[silent] = False
    assert not wave[silent].any()
    assert (wave[heard] > 0.19).all()


def test_a_short_clip_is_centred_in_silence(tmp_path: Path) -> None:
    write_sound(tmp_path / "a.wav", 0.5)
    short = clip("a.png", "a.wav", start=0.1, seconds=0.128)
    wave = read_clip_sound(short, tmp_path, LAYOUT)
    quarter = LAYOUT.clip_samples // 4
    assert not wave[:quarter].any()
    assert not wave[-quarter:].any()
    assert wave[quarter:-quarter].abs().max() == pytest.approx(LAYOUT.peak, abs=1e-4)
    assert torch.equal(read_clip_sound(short, tmp_path, LAYOUT, 0.05), wave)
    assert window_offsets(short, LAYOUT, 3) == [0.0]


def test_files_that_have_gone_are_named(tmp_path: Path) -> None:
    for read in (lambda c: read_clip_image(c, tmp_path, 0, LAYOUT), lambda c: read_clip_sound(c, tmp_path, LAYOUT)):
        with pytest.raises(EchoesError, match=r"gone\.\w+ does not exist"):
            read(clip("gone.png", "gone.wav"))


@given(layout=st.sampled_from(list(LAYOUTS.values())), share=st.floats(0.01, 5), count=st.integers(1, 6))
def test_windows_are_spread_evenly_and_silent_only_where_the_crop_drops_it(
    layout: Layout, share: float, count: int
) -> None:
    one = clip("a.png", "a.wav", seconds=share * layout.seconds)
    offsets = window_offsets(one, layout, count)
    slack = layout.mel_offset * layout.hop / layout.sample_rate
    assert 1 <= len(offsets) <= count
    steps = np.diff(offsets)
    assert np.allclose(steps, steps[:1])
    assert (steps > 0).all()
    if share >= 1:
        assert offsets[0] >= -slack - 1e-9
        assert offsets[-1] + layout.seconds <= one.seconds + slack + 1e-9
