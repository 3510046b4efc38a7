"""An image and its sound become a video that plays for the whole sound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from visual_echoes.media import read_audio, read_frames, write_mp4

Tone = Callable[..., np.ndarray]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((32, 32), (256, 256)),
        ((33, 40), (264, 320)),
        ((257, 300), (514, 600)),
        ((256, 256), (256, 256)),
        ((1, 1), (256, 256)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_image_is_enlarged_without_smoothing(
    tmp_path: Path, tone: Tone, size: tuple[int, int], expected: tuple[int, int], channels: int
) -> None:
    pixels = np.full((*size, channels), 40, np.uint8)
    pixels[: size[0] // 2] = 200
    write_mp4(tmp_path / "a.mp4", pixels, tone(seconds=0.2), 16_000, {})
    (frame,) = read_frames(tmp_path / "a.mp4", 1)
    assert frame.size == expected[::-1]
    factor = expected[0] // size[0]
    large = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    assert np.abs(np.asarray(frame, int) - large).mean() < 3


def test_streams_are_what_players_take(tmp_path: Path, tone: Tone) -> None:
    write_mp4(tmp_path / "a.mp4", np.zeros((32, 32, 3), np.uint8), tone(), 16_000, {})
    with av.open(str(tmp_path / "a.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.pix_fmt) == ("h264", "yuv420p")
        assert (audio.codec_context.name, audio.sample_rate) == ("aac", 48_000)


@pytest.mark.parametrize("seconds", [0.01, 1.0, 2.53, 10.0])
@pytest.mark.parametrize("sample_rate", [8000, 22_050])
def test_it_plays_for_the_whole_sound(tmp_path: Path, tone: Tone, seconds: float, sample_rate: int) -> None:
    wave = tone(sample_rate=sample_rate, seconds=seconds)
    write_mp4(tmp_path / "a.mp4", np.zeros((32, 32, 3), np.uint8), wave, sample_rate, {})
    with av.open(str(tmp_path / "a.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert seconds - 1e-3 <= float(video.duration * video.time_base) <= seconds + 0.041
        assert float(audio.duration * audio.time_base) == pytest.approx(seconds, abs=0.002)
    heard = read_audio(tmp_path / "a.mp4", sample_rate)
    assert len(wave) <= len(heard) <= len(wave) + 0.025 * sample_rate  # AAC frames are 21 ms
    if seconds >= 1:
        error = heard[1000 : len(wave) - 1000] - wave[1000:-1000]
        assert np.sqrt(np.mean(error**2)) < 0.02


def test_image_and_sound_lie_side_by_side(tmp_path: Path, tone: Tone) -> None:
    write_mp4(tmp_path / "a.mp4", np.zeros((8, 8, 3), np.uint8), tone(sample_rate=8000, seconds=15), 8000, {})
    latest = {"video": 0.0, "audio": 0.0}
    with av.open(str(tmp_path / "a.mp4")) as container:
        stored = sorted(
            (packet.pos, packet.stream.type, float(packet.dts * packet.time_base))
            for packet in container.demux()
            if packet.size
        )
    for _, kind, seconds in stored:
        latest[kind] = seconds
        assert abs(latest["video"] - latest["audio"]) < 0.5


def test_loud_sounds_are_clipped_and_silence_is_fine(tmp_path: Path, tone: Tone) -> None:
    pixels = np.zeros((32, 32, 1), np.uint8)
    write_mp4(tmp_path / "loud.mp4", pixels, 6 * tone(), 16_000, {})
    assert np.abs(read_audio(tmp_path / "loud.mp4", 16_000)).max() < 1.3
    write_mp4(tmp_path / "silent.mp4", pixels, np.zeros(16_000, np.float32), 16_000, {})
    assert np.abs(read_audio(tmp_path / "silent.mp4", 16_000)).max() < 1e-3


def test_without_libx264(tmp_path: Path, tone: Tone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    write_mp4(tmp_path / "a.mp4", np.full((32, 32, 3), 90, np.uint8), tone(), 16_000, {"a": "b"})
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert np.abs(np.asarray(read_frames(tmp_path / "a.mp4", 1)[0], int) - 90).max() < 5


def test_the_same_input_gives_the_same_file(tmp_path: Path, tone: Tone) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for name in ("a.mp4", "b.mp4"):
        write_mp4(tmp_path / name, pixels, tone(), 16_000, {"seed": "1"})
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize(
    ("pixels", "wave"),
    [
        (np.zeros((8, 8)), np.zeros(100)),
        (np.zeros((8, 8, 3), np.uint8), np.array([np.nan])),
        (np.zeros((8, 8, 3), np.uint8), np.zeros(0)),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, pixels: np.ndarray, wave: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"pixels must be|waveform"):
        write_mp4(tmp_path / "a.mp4", pixels, wave, 8000, {})
    assert list(tmp_path.iterdir()) == []
