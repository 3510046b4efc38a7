"""What is damaged inside a sound is lost alone, what is silent is said to be, and one of several tracks is chosen."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from visual_echoes.errors import EchoesError, collected
from visual_echoes.media import read_audio, read_audio_window, read_frames_at, read_tracks, why_silent

Tone = Callable[..., np.ndarray]
RATE = 16_000


def sweep(seconds: float) -> np.ndarray:
    """A tone that rises, so that no two packets are the same."""
    times = np.arange(round(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * (200 * times + 150 * times**2))).astype(np.float32)


def said(read: Callable[[], object]) -> list[str]:
    with collected() as notes:
        read()
    return notes


def packets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


def spoil(path: Path, *numbers: int) -> None:
    """Overwrite packets of the sound with ones."""
    packets, content = packets_of(path), path.read_bytes()
    for number in numbers:
        assert packets[number] in content
        content = content.replace(packets[number], b"\xff" * len(packets[number]))
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "aac"), ("a.mov", "aac"), ("a.mkv", "aac"), ("a.m4a", "aac"), ("a.mkv", "libmp3lame")]
)
def test_a_bad_packet_costs_itself_and_keeps_the_time(make_sound: Callable[..., Path], name: str, codec: str) -> None:
    path = make_sound(name, codec, sweep(4.0), RATE)
    whole = read_audio(path, RATE)
    spoil(path, 30)
    with collected() as notes:
        damaged = read_audio(path, RATE)
    assert len(damaged) == pytest.approx(len(whole), abs=RATE // 1000)  # Matroska rounds times to milliseconds
    (sentence,) = notes
    start, end = map(float, re.findall(r"has no sound that can be decoded from (\S+) to (\S+) s", sentence)[0])
    assert 1.0 < start < end < start + 0.2
    around = slice(round((start - 0.1) * RATE), round((end + 0.1) * RATE))  # neighbours fade into a packet
    np.testing.assert_allclose(damaged[: around.start], whole[: around.start], atol=1e-6)
    assert np.corrcoef(damaged[around.stop : len(whole)], whole[around.stop : len(damaged)])[0, 1] > 0.9
    assert said(lambda: read_audio_window(path, RATE, 0.0, 1.0)) == []
    assert len(said(lambda: read_audio_window(path, RATE, 1.0, 2.0))) == 1


def test_a_bad_frame_of_flac_is_silence_and_not_noise(tmp_path: Path, tone: Tone) -> None:
    path = tmp_path / "a.flac"
    wave = tone(seconds=4.0) + np.random.default_rng(0).uniform(-0.1, 0.1, 4 * RATE).astype(np.float32)
    soundfile.write(path, wave, RATE)
    whole = read_audio(path, RATE)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with collected() as notes:
        damaged = read_audio(path, RATE)
    assert len(notes) == 1
    assert len(damaged) == len(whole)
    lost = damaged != whole
    assert 0 < lost.sum() <= 2 * 4096
    assert not damaged[lost].any()


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_lost_page_keeps_the_time(tmp_path: Path, subtype: str) -> None:
    times = np.arange(48_000 * 20) / 48_000
    wave = np.where(times < 15, 0.3 * np.sin(2 * np.pi * 440 * times), 0).astype(np.float32)
    wave += np.random.default_rng(0).uniform(-0.05, 0.05, len(wave)).astype(np.float32)
    soundfile.write(tmp_path / "a.ogg", wave, 48_000, format="OGG", subtype=subtype)
    content = (tmp_path / "a.ogg").read_bytes()
    pages = content.split(b"OggS")
    (tmp_path / "a.ogg").write_bytes(b"OggS".join(pages[: len(pages) // 2] + pages[len(pages) // 2 + 1 :]))
    with collected() as notes:
        heard = read_audio(tmp_path / "a.ogg", 48_000)
    assert len(notes) == 1
    assert len(heard) == pytest.approx(len(wave), abs=200)
    assert np.abs(heard[48_000 * 14 : 48_000 * 15 - 2000]).max() > 0.25
    assert np.abs(heard[48_000 * 15 + 2000 :]).max() < 0.2


def test_zeros_behind_an_mp3_are_no_damage(make_sound: Callable[..., Path], tone: Tone) -> None:
    path = make_sound("a.mp3", "libmp3lame", tone(seconds=3.0), RATE)
    whole = read_audio(path, RATE)
    path.write_bytes(path.read_bytes() + bytes(20_000))
    with collected() as notes:
        heard = read_audio(path, RATE)
    np.testing.assert_array_equal(heard[: len(whole)], whole)
    assert len(heard) < len(whole) + 1152  # what the encoder added
    assert notes == []


def test_a_sound_of_which_little_can_be_decoded_is_refused(make_sound: Callable[..., Path]) -> None:
    path = make_sound("a.m4a", "aac", sweep(4.0), RATE)
    spoil(path, *range(20, 40))
    with pytest.raises(EchoesError, match=r"a\.m4a is damaged from 1\.\d+ s on"):
        read_audio(path, RATE)
    assert len(read_audio_window(path, RATE, 0.0, 1.0)) == RATE
    with pytest.raises(EchoesError, match=r"is damaged from 1\.\d+ s on"):
        read_audio_window(path, RATE, 1.0, 1.0)


def test_outside_of_a_collection_notes_are_warnings(make_sound: Callable[..., Path]) -> None:
    path = make_sound("a.m4a", "aac", sweep(2.0), RATE)
    spoil(path, 10)
    with pytest.warns(UserWarning, match="no sound that can be decoded"):
        read_audio(path, RATE)


def two_tracks(
    path: Path, tone: Tone, codecs: tuple[str, str] = ("aac", "aac"), default: int | None = 1, first: float = 0.8
) -> Path:
    """A video of 4 s with sound of 300 Hz, `first` seconds long, and another of 1200 Hz and 4 s."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        tracks = [container.add_stream(codec, rate=RATE, layout="mono") for codec in codecs]
        for number, track in enumerate(tracks):
            track.disposition = av.stream.Disposition.default if number == default else av.stream.Disposition(0)
        packets = []
        for index in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 6 * index, np.uint8))
            frame.pts, frame.time_base = index, Fraction(1, 10)
            packets += video.encode(frame)
        packets += video.encode(None)
        for track, frequency, seconds in zip(tracks, (300.0, 1200.0), (first, 4.0), strict=True):
            wave = tone(frequency, RATE, seconds)[np.newaxis]
            if track.codec_context.name == "pcm_s16le":
                block = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16), format="s16", layout="mono")
            else:
                block = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = RATE, 0, Fraction(1, RATE)
            packets += [*track.encode(block), *track.encode(None)]
        container.mux(packets)
    return path


def frequency(wave: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(wave))) * RATE / len(wave))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
@pytest.mark.parametrize(("default", "seconds", "heard"), [(1, 4.0, 1200), (0, 0.8, 300)])
def test_length_and_content_are_of_the_default_track(
    tmp_path: Path, tone: Tone, name: str, default: int, seconds: float, heard: int
) -> None:
    path = two_tracks(tmp_path / name, tone, default=default)
    with collected() as notes:
        assert read_tracks(path).sound == pytest.approx(seconds, abs=0.15)
        wave = read_audio(path, RATE)
        part = read_audio_window(path, RATE, 0.0, 0.5)
    assert len(wave) / RATE == pytest.approx(seconds, abs=0.15)
    assert frequency(wave) == pytest.approx(heard, abs=10)
    assert frequency(part) == pytest.approx(heard, abs=10)
    assert notes == [f"{path} has 2 sound tracks; number {default + 1} is used."]


@pytest.mark.parametrize("default", [0, 1, None])
def test_a_track_of_an_unknown_codec_is_passed_over(tmp_path: Path, tone: Tone, default: int | None) -> None:
    path = two_tracks(tmp_path / "a.mov", tone, ("pcm_s16le", "aac"), default, first=4.0)
    path.write_bytes(path.read_bytes().replace(b"sowt", b"zzzz"))
    with collected() as notes:
        assert frequency(read_audio(path, RATE)) == pytest.approx(1200, abs=10)
        assert read_tracks(path).sound == pytest.approx(4.0, abs=0.15)
    assert notes == [f"{path} has 2 sound tracks; number 2 is used."]


def test_tracks_of_unknown_codecs_alone_are_named_as_the_cause(tmp_path: Path, tone: Tone) -> None:
    path = two_tracks(tmp_path / "a.mov", tone, ("pcm_s16le", "pcm_s16le"))
    path.write_bytes(path.read_bytes().replace(b"sowt", b"zzzz"))
    for read in (lambda: read_audio(path, RATE), lambda: read_audio_window(path, RATE, 0.0, 1.0)):
        with pytest.raises(EchoesError, match=r"a\.mov has sound of a codec that cannot be decoded here"):
            read()
    with collected() as notes:
        assert read_tracks(path).sound is None
    assert "sound of a codec" in notes[0]


def test_a_default_track_in_which_nothing_can_be_decoded_is_passed_over(tmp_path: Path, tone: Tone) -> None:
    path = two_tracks(tmp_path / "a.mp4", tone, default=0, first=4.0)
    content = path.read_bytes()
    for packet in packets_of(path):
        content = content.replace(packet, b"\xff" * len(packet))
    path.write_bytes(content)
    with collected():
        assert frequency(read_audio(path, RATE)) == pytest.approx(1200, abs=10)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mkv"])
def test_silence_is_told_from_channels_that_cancel_each_other(tmp_path: Path, tone: Tone, name: str) -> None:
    wave = tone(seconds=1.0)
    for left, right, cause in (
        (wave, wave, None),
        (wave, -wave, "silent once its channels are mixed into one, as they cancel each other"),
        (0 * wave, 0 * wave, "silent all along"),
    ):
        channels = np.stack([left, right], 1)
        path = tmp_path / name
        if name == "a.mkv":
            with av.open(str(path), "w") as container:
                stream = container.add_stream("pcm_f32le", rate=RATE, layout="stereo")
                frame = av.AudioFrame.from_ndarray(channels.reshape(1, -1), format="flt", layout="stereo")
                frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
                container.mux([*stream.encode(frame), *stream.encode(None)])
        else:
            soundfile.write(path, channels, RATE)
        assert why_silent(path, read_audio(path, RATE)) == cause
        assert why_silent(path, read_audio_window(path, RATE, 0.5, 0.25), 0.5, 0.25) == cause


def test_a_warning_made_an_error_stays_one(make_sound: Callable[..., Path]) -> None:
    path = make_sound("a.m4a", "aac", sweep(2.0), RATE)
    spoil(path, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="no sound that can be decoded"):
            read_audio(path, RATE)


def test_frames_beside_a_bad_track_of_sound(tmp_path: Path, tone: Tone) -> None:
    path = two_tracks(tmp_path / "a.mp4", tone, default=0, first=4.0)
    assert len(read_frames_at(path, [0.5, 3.5])) == 2
