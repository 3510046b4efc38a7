"""Reading a part of a sound: where it begins, where it ends, and what lies beyond."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from visual_echoes.errors import EchoesError
from visual_echoes.media import read_audio, read_audio_window, sounds

Tone = Callable[..., np.ndarray]


def save(path: Path, wave: np.ndarray, sample_rate: int) -> Path:
    soundfile.write(path, wave, sample_rate)
    return path


@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", None), ("a.flac", None), ("a.m4a", "aac"), ("a.mp3", "libmp3lame")]
)
@pytest.mark.parametrize(("start", "seconds"), [(0.0, 0.5), (0.9, 0.25), (2.5, 0.5)])
def test_a_part_of_a_sound(
    tmp_path: Path, make_sound: Callable[..., Path], name: str, codec: str | None, start: float, seconds: float
) -> None:
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000 // 1000 * 3).astype(np.float32)
    wave = np.interp(np.arange(144_000), np.arange(144) * 1000, wave).astype(np.float32)  # slow, so that codecs keep it
    path = make_sound(name, codec, wave) if codec else save(tmp_path / name, wave, 48_000)
    part = read_audio_window(path, 16_000, start, seconds)
    assert part.shape == (round(seconds * 16_000),)
    whole = read_audio(path, 16_000)[round(start * 16_000) :][: len(part)]
    inside = slice(200, -200)  # the resampler knows nothing beyond the part
    delay = 0 if codec is None else 1200  # samples of an encoder that no header tells may shift a part
    errors = [np.abs(np.roll(whole, shift) - part)[inside].max() for shift in (0, delay)]
    assert min(errors) < 0.02


def test_a_part_beyond_the_end(tmp_path: Path, tone: Tone) -> None:
    path = save(tmp_path / "a.wav", tone(), 16_000)
    almost = read_audio_window(path, 16_000, 0.5, 0.52)
    assert not almost[8_000:].any()
    for start, seconds in ((0.5, 1.0), (2.0, 0.1)):
        with pytest.raises(EchoesError, match="has no sound up to"):
            read_audio_window(path, 16_000, start, seconds)


def test_a_part_of_a_sound_too_long_to_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tone: Tone) -> None:
    monkeypatch.setattr(sounds, "MAX_AUDIO_SECONDS", 2)
    path = save(tmp_path / "a.wav", tone(seconds=5), 16_000)
    assert len(read_audio_window(path, 16_000, 3.5, 1.0)) == 16_000
    with pytest.raises(EchoesError, match="longer than 2 s"):
        read_audio(path, 16_000)
    with pytest.raises(EchoesError, match="longer than 2 s"):
        read_audio_window(path, 16_000, 0.0, 3.0)


@pytest.mark.parametrize(("start", "seconds"), [(-1.0, 1.0), (0.0, 0.0)])
def test_parts_that_are_none(tmp_path: Path, start: float, seconds: float) -> None:
    with pytest.raises(ValueError, match="no part of a sound"):
        read_audio_window(tmp_path / "a.wav", 16_000, start, seconds)


@pytest.mark.parametrize(("start", "silent"), [(0.0, 0.5), (0.25, 0.25), (0.75, 0.0)])
def test_a_track_that_begins_later_than_the_file_is_preceded_by_silence(
    tmp_path: Path, start: float, silent: float
) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        video = container.add_stream("ffv1", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
        frame.pts, frame.time_base = 0, Fraction(1, 10)
        packets = [*video.encode(frame), *video.encode(None)]
        block = av.AudioFrame.from_ndarray(np.full((1, 16_000), 8192, np.int16), format="s16", layout="mono")
        block.sample_rate, block.pts, block.time_base = 8000, 4000, Fraction(1, 8000)
        packets += [*audio.encode(block), *audio.encode(None)]
        for packet in packets:
            container.mux(packet)
    part = read_audio_window(tmp_path / "a.mkv", 8000, start, 1.0)
    first = round(silent * 8000)
    assert not part[:first].any()
    np.testing.assert_array_equal(part[first:], 0.25)
