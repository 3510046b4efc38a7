"""Sounds of every kind become mono waveforms of exact length."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from visual_echoes.errors import EchoesError
from visual_echoes.media import fit_audio, read_audio, sounds, write_wav

Tone = Callable[..., np.ndarray]


def frequency_and_level(wave: np.ndarray, sample_rate: int) -> tuple[float, float]:
    """The strongest frequency (Hz) and the RMS of the middle half."""
    middle = wave[len(wave) // 4 : -len(wave) // 4].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 16 * len(middle)))
    frequency = np.argmax(spectrum) * sample_rate / (16 * len(middle))
    return float(frequency), float(np.sqrt(np.mean(middle**2)))


def save(path: Path, wave: np.ndarray, sample_rate: int, **options: str) -> Path:
    soundfile.write(path, wave, sample_rate, **options)
    return path


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_wav_at_its_own_rate_is_read_as_stored(tmp_path: Path, tone: Tone, subtype: str) -> None:
    path = save(tmp_path / "a.wav", tone(), 16_000, subtype=subtype)
    wave = read_audio(path, 16_000)
    assert wave.dtype == np.float32
    np.testing.assert_array_equal(wave, soundfile.read(path, dtype="float32")[0])


@pytest.mark.parametrize(("name", "options"), [("a.flac", {}), ("a.ogg", {"subtype": "VORBIS"})])
def test_flac_and_ogg(tmp_path: Path, tone: Tone, name: str, options: dict[str, str]) -> None:
    wave = read_audio(save(tmp_path / name, tone(), 16_000, **options), 16_000)
    assert len(wave) == 16_000
    assert frequency_and_level(wave, 16_000) == pytest.approx((440, 0.5 / np.sqrt(2)), rel=0.02)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp3", "libmp3lame"),
        ("a.m4a", "aac"),
        ("a.aac", "aac"),
        ("a.opus", "libopus"),
        ("a.ogg", "libopus"),
    ],
)
def test_compressed_formats(make_sound: Callable[..., Path], tone: Tone, name: str, codec: str) -> None:
    path = make_sound(name, codec, tone(sample_rate=48_000, seconds=2))
    wave = read_audio(path, 16_000)
    assert len(wave) / 16_000 == pytest.approx(2, abs=0.06)  # encoders pad to whole frames
    frequency, level = frequency_and_level(wave, 16_000)
    assert frequency == pytest.approx(440, abs=1)
    assert level == pytest.approx(0.5 / np.sqrt(2), rel=0.06)  # LAME itself takes 5 % off


@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [
        ("a.mp4", "libx264", "aac"),
        ("a.mov", "mpeg4", "aac"),
        ("a.mkv", "libx264", "libopus"),
        ("a.webm", "libvpx-vp9", "libopus"),
        ("a.avi", "mpeg4", "libmp3lame"),
    ],
)
def test_the_sound_of_videos(make_video: Callable[..., Path], name: str, codec: str, sound: str) -> None:
    wave = read_audio(make_video(name, codec=codec, sound=sound), 16_000)
    assert len(wave) / 16_000 == pytest.approx(2, abs=0.06)
    frequency, level = frequency_and_level(wave, 16_000)
    assert frequency == pytest.approx(440, abs=1)
    assert level == pytest.approx(0.5 / np.sqrt(2), rel=0.06)


def test_the_content_decides_not_the_suffix(tmp_path: Path, make_sound: Callable[..., Path], tone: Tone) -> None:
    path = make_sound("a.mp3", "libmp3lame", tone(sample_rate=48_000)).rename(tmp_path / "a.wav")
    assert len(read_audio(path, 48_000)) == pytest.approx(48_000, abs=3000)


def test_channels_are_averaged(tmp_path: Path) -> None:
    channels = np.random.default_rng(0).uniform(-1, 1, (1000, 8)).astype(np.float32)
    wave = read_audio(save(tmp_path / "a.wav", channels, 192_000, subtype="FLOAT"), 192_000)
    np.testing.assert_allclose(wave, channels.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize(("codec", "layout", "channels"), [("flac", "7.1", 8), ("pcm_s16le", "32 channels", 32)])
def test_many_channels_in_a_video(tmp_path: Path, codec: str, layout: str, channels: int) -> None:
    samples = np.random.default_rng(0).integers(-20_000, 20_000, (4800, channels), np.int16)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream(codec, rate=48_000, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
        container.mux([*stream.encode(frame), *stream.encode(None)])
    wave = read_audio(tmp_path / "a.mkv", 48_000)
    np.testing.assert_allclose(wave, samples.mean(axis=1) / 32768, atol=1e-6)


def test_eight_channels_of_planar_sound(tmp_path: Path, tone: Tone) -> None:
    channels = np.repeat(tone(sample_rate=48_000), 8).reshape(1, -1)
    with av.open(str(tmp_path / "a.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=48_000, layout="7.1")
        frame = av.AudioFrame.from_ndarray(channels, format="flt", layout="7.1")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert frequency_and_level(read_audio(tmp_path / "a.m4a", 16_000), 16_000)[0] == pytest.approx(440, abs=1)


def test_eight_channels_at_192_khz_are_resampled(tmp_path: Path, tone: Tone) -> None:
    channels = np.repeat(tone(sample_rate=192_000)[:, np.newaxis], 8, axis=1)
    wave = read_audio(save(tmp_path / "a.flac", channels, 192_000), 22_050)
    assert len(wave) == 22_050
    assert frequency_and_level(wave, 22_050) == pytest.approx((440, 0.5 / np.sqrt(2)), rel=0.002)


@pytest.mark.parametrize("old", [8000, 11_025, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("new", [8000, 16_000, 22_050])
def test_resampling_keeps_pitch_level_and_time(tmp_path: Path, tone: Tone, old: int, new: int) -> None:
    wave = read_audio(save(tmp_path / "a.wav", tone(sample_rate=old), old, subtype="FLOAT"), new)
    assert frequency_and_level(wave, new) == pytest.approx((440, 0.5 / np.sqrt(2)), rel=0.002)
    np.testing.assert_allclose(wave[100:-100], tone(sample_rate=new)[100:-100], atol=5e-3)


@pytest.mark.parametrize("new", [16_000, 22_050, 96_000])
def test_resampling_keeps_both_ends(tmp_path: Path, new: int) -> None:
    steady = np.full(4800, 0.25, np.float32)
    wave = read_audio(save(tmp_path / "a.wav", steady, 48_000, subtype="FLOAT"), new)
    np.testing.assert_allclose(wave, 0.25, atol=1e-3)


def test_resampling_removes_what_the_new_rate_cannot_hold(tmp_path: Path, tone: Tone) -> None:
    path = save(tmp_path / "a.wav", tone(frequency=7000, sample_rate=48_000), 48_000)
    assert np.abs(read_audio(path, 8000)[100:-100]).max() < 0.005


@given(samples=st.integers(1, 300_000), old=st.sampled_from([8000, 22_050, 44_100, 99_991]))
def test_lengths_are_exact(tmp_path_factory: pytest.TempPathFactory, samples: int, old: int) -> None:
    path = tmp_path_factory.getbasetemp() / "length.wav"
    save(path, np.full(samples, 0.25, np.float32), old)
    for new in (8000, 16_000):
        expected = round(samples * new / old)
        if expected:
            assert len(read_audio(path, new)) == expected


def test_values_beyond_full_scale_are_kept(tmp_path: Path, tone: Tone) -> None:
    path = save(tmp_path / "a.wav", 6 * tone(sample_rate=48_000), 48_000, subtype="FLOAT")
    assert np.abs(read_audio(path, 48_000)).max() == pytest.approx(3, rel=0.01)
    assert np.abs(read_audio(path, 16_000)).max() == pytest.approx(3, rel=0.01)


def test_silence_is_a_sound(tmp_path: Path) -> None:
    assert not read_audio(save(tmp_path / "a.wav", np.zeros(800), 8000), 16_000).any()


def test_a_flac_stream_of_unknown_length(tmp_path: Path, tone: Tone) -> None:
    data = bytearray(save(tmp_path / "a.flac", tone(), 16_000).read_bytes())
    data[21] &= 0xF0  # the 36 bits of STREAMINFO that count the samples
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)
    assert len(read_audio(tmp_path / "a.flac", 16_000)) == 16_000


def test_a_wav_written_to_a_pipe(tmp_path: Path, tone: Tone) -> None:
    data = bytearray(save(tmp_path / "a.wav", tone(), 16_000).read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(data)
    assert len(read_audio(tmp_path / "a.wav", 16_000)) == 16_000


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e38])
@pytest.mark.parametrize("place", [0, 500, 999])
@pytest.mark.parametrize("rate", [48_000, 16_000])
def test_values_that_are_no_numbers(tmp_path: Path, bad: float, place: int, rate: int) -> None:
    wave = np.zeros(1000, np.float32)
    wave[place] = bad
    with pytest.raises(EchoesError, match=r"a\.wav holds samples that are no sensible numbers"):
        read_audio(save(tmp_path / "a.wav", wave, 48_000, subtype="FLOAT"), rate)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"only text, long enough to look at" * 9, "not a sound"),
        (b"RIFF\x24\0\0\0WAVE", "is damaged|ends before"),
        (b"#EXTM3U\n#EXTINF:9,\n/etc/hosts\n#EXT-X-ENDLIST\n", "not a sound"),
        (b"ffconcat version 1.0\nfile other.wav\n", "not a sound"),
    ],
)
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m3u8", "http:a.mp3"])
def test_what_is_no_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "other.wav", np.zeros(800), 8000)
    Path(name).write_bytes(content)
    with pytest.raises(EchoesError, match=rf"^{name}.*({complaint})"):
        read_audio(name, 16_000)


def test_names_are_never_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tone: Tone) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-", "concat:a", "http:a", "%03d"):
        soundfile.write(tmp_path / "a.wav", tone(), 16_000)
        (tmp_path / "a.wav").rename(tmp_path / name)
        assert len(read_audio(name, 16_000)) == 16_000


def test_other_formats_of_libsndfile_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.aiff", np.zeros(8000), 8000)
    with pytest.raises(EchoesError, match="not a sound"):
        read_audio(path, 8000)


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_zero_samples(tmp_path: Path, rate: int) -> None:
    with pytest.raises(EchoesError, match="holds no sound"):
        read_audio(save(tmp_path / "a.wav", np.zeros(0), 8000), rate)


def test_less_than_a_sample_after_resampling(tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match="holds no sound"):
        read_audio(save(tmp_path / "a.wav", np.zeros(2), 192_000), 8000)


def test_missing_and_folder(tmp_path: Path) -> None:
    for name, complaint in [("no.wav", "does not exist"), ("", "is a folder")]:
        with pytest.raises(EchoesError, match=complaint):
            read_audio(tmp_path / name, 8000)


def test_a_damaged_page_before_the_end(tmp_path: Path) -> None:
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 96_000).astype(np.float32)
    content = bytearray(save(tmp_path / "a.ogg", wave, 48_000).read_bytes())
    content[len(content) * 4 // 5] ^= 1  # the checksum of its page fails
    (tmp_path / "a.ogg").write_bytes(content)
    with pytest.raises(EchoesError, match="ends before the length"):
        read_audio(tmp_path / "a.ogg", 48_000)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.m4a", "a.opus"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_truncated_sounds(tmp_path: Path, make_sound: Callable[..., Path], name: str, share: float) -> None:
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 96_000).astype(np.float32)
    codec = {"a.mp3": "libmp3lame", "a.m4a": "aac", "a.opus": "libopus"}.get(name)
    path = make_sound(name, codec, wave) if codec else save(tmp_path / name, wave, 48_000)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(EchoesError, match=r"damaged, incomplete|ends before the length"):
        read_audio(path, 16_000)


def test_a_video_without_sound(make_video: Callable[..., Path]) -> None:
    with pytest.raises(EchoesError, match="has no sound in it"):
        read_audio(make_video(), 16_000)


def wav_header(sample_rate: int, channels: int, data_bytes: int) -> bytes:
    frame = 2 * channels
    form = struct.pack("<HHIIHH", 1, channels, sample_rate, sample_rate * frame & 0xFFFFFFFF, frame, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", data_bytes)
    return b"RIFF" + struct.pack("<I", len(body) + data_bytes) + body


@pytest.mark.parametrize(
    ("sample_rate", "channels", "samples", "complaint"),
    [
        (8000, 1, 600 * 8000 + 1, "lasts longer than 600 s"),
        (400_001, 1, 1000, "claims 400001 Hz"),
        (8000, 33, 1000, "claims 33 channels"),
    ],
)
def test_limits_are_read_from_the_header(
    tmp_path: Path, sample_rate: int, channels: int, samples: int, complaint: str
) -> None:
    data = samples * channels * 2
    with open(tmp_path / "a.wav", "wb") as file:
        file.write(wav_header(sample_rate, channels, data))
        file.truncate(file.tell() + data)
    with pytest.raises(EchoesError, match=complaint):
        read_audio(tmp_path / "a.wav", 16_000)


def test_the_length_limit_holds_when_the_header_is_silent(
    make_sound: Callable[..., Path], tone: Tone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sounds, "MAX_AUDIO_SECONDS", 1)
    path = make_sound("a.aac", "aac", tone(sample_rate=48_000, seconds=2))  # bare AAC has no length in it
    with pytest.raises(EchoesError, match="lasts longer than 1 s"):
        read_audio(path, 16_000)


def test_too_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tone: Tone) -> None:
    monkeypatch.setattr(sounds, "MAX_AUDIO_BYTES", 1000)
    with pytest.raises(EchoesError, match="MB that are read"):
        read_audio(save(tmp_path / "a.wav", tone(), 16_000), 16_000)


def test_the_rate_asked_for_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sample_rate"):
        read_audio(tmp_path / "a.wav", 0)


@pytest.mark.parametrize(("short", "before", "after"), [(4, 2, 2), (3, 2, 3), (8, 0, 0), (0, 4, 4)])
def test_a_short_sound_is_centred_in_zeros(short: int, before: int, after: int) -> None:
    fitted = fit_audio(np.ones(short, np.float32), 8)
    np.testing.assert_array_equal(fitted, [0] * before + [1] * short + [0] * after)
    assert fitted.dtype == np.float32


@given(
    wave=st.lists(st.integers(-3, 3).map(lambda level: level / 4), min_size=9, max_size=40),
    samples=st.integers(1, 8),
)
@example(wave=[0.25, 0.25, 0.25, 0, 0, 0, 0, 0.5, 0], samples=3)
def test_a_long_sound_is_cut_to_its_first_loudest_window(wave: list[float], samples: int) -> None:
    array = np.array(wave, np.float32)
    energies = [sum(level**2 for level in wave[start : start + samples]) for start in range(len(wave) - samples + 1)]
    start = energies.index(max(energies))
    np.testing.assert_array_equal(fit_audio(array, samples), array[start : start + samples])


def test_a_steady_sound_is_cut_at_its_start() -> None:
    wave = np.arange(100_000, dtype=np.float32) % 2 * 0.2 - 0.1
    wave[1::2] += np.float32(1e-9)
    np.testing.assert_array_equal(fit_audio(wave, 22_050), wave[:22_050])


def test_the_loudest_window_of_a_quiet_sound() -> None:
    wave = np.zeros(100, np.float32)
    wave[60:70] = 1e-7
    np.testing.assert_array_equal(fit_audio(wave, 10), wave[60:70])


def test_fitting_leaves_the_input_alone() -> None:
    wave = np.ones(100, np.float32)
    fit_audio(wave, 50)[:] = 0
    fit_audio(wave, 100)[:] = 0
    assert wave.all()


@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=50))
def test_wav_round_trip(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.wav"
    wave = np.array(values, np.float32)
    write_wav(path, wave, 22_050, {})
    info = soundfile.info(path)
    assert (info.format, info.subtype, info.samplerate, info.channels) == ("WAV", "PCM_16", 22_050, 1)
    stored = read_audio(path, 22_050)
    assert np.abs(stored - np.clip(wave, -1, 1)).max() <= 1 / 32768
    write_wav(path, stored, 22_050, {})
    np.testing.assert_array_equal(read_audio(path, 22_050), stored)


def test_silence_can_be_written(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.zeros(100, np.float32), 8000, {})
    assert not read_audio(tmp_path / "a.wav", 8000).any()


@pytest.mark.parametrize("wave", [np.array([0, np.nan]), np.array([np.inf]), np.zeros((2, 2)), np.zeros(0)])
def test_wav_refuses_other_arrays(tmp_path: Path, wave: np.ndarray) -> None:
    with pytest.raises(ValueError, match="waveform"):
        write_wav(tmp_path / "a.wav", wave, 8000, {})
    assert list(tmp_path.iterdir()) == []


def test_wav_refuses_more_metadata_than_its_header_holds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too many for a WAV"):
        write_wav(tmp_path / "a.wav", np.zeros(100), 8000, {"long": "x" * 100_000})


@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), bytes(200_000)])
def test_an_ogg_file_with_something_after_it(tmp_path: Path, tone: Tone, tail: bytes) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(), 16_000, format="OGG")
    (tmp_path / "a.ogg").write_bytes(buffer.getvalue() + tail)
    assert len(read_audio(tmp_path / "a.ogg", 16_000)) == 16_000
