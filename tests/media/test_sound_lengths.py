"""The length of a sound is that of its samples; a header is believed only where it makes a real promise."""

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

from visual_echoes.errors import EchoesError, collected
from visual_echoes.media import read_audio, read_audio_window, read_tracks

Tone = Callable[..., np.ndarray]
RATE = 16_000


def wav(tone: Tone, seconds: float = 2.0, **options: str) -> bytearray:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(seconds=seconds), RATE, format="WAV", **options)
    return bytearray(buffer.getvalue())


def resized(content: bytearray, outer: float | None = None, inner: float | None = None) -> bytearray:
    """A WAV file with its sizes multiplied; None leaves one as it is."""
    at = content.index(b"data") + 4
    for place, factor in ((4, outer), (at, inner)):
        if factor is not None:
            size = int.from_bytes(content[place : place + 4], "little")
            content[place : place + 4] = struct.pack("<I", min(0xFFFFFFFF, int(size * factor)))
    return content


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (0, 0),
        (1, 0),
        (0, 1),
        (1e9, 1e9),
        (1.01, 1),
        (2, 1),
        (1, 2),
        (1, 1e9),
        (1e9, 1),
        (0.5, 0.5),
        (1, 0.5),
        (0.01, 1),
    ],
)
def test_wav_sizes_that_are_wrong(tmp_path: Path, tone: Tone, outer: float, inner: float) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(resized(wav(tone), outer, inner))
    with collected() as notes:
        np.testing.assert_allclose(read_audio(path, RATE), tone(seconds=2.0), atol=1e-4)
        assert read_tracks(path).sound == 2.0
        assert len(read_audio_window(path, RATE, 1.5, 0.5)) == RATE // 2
    assert notes == []


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "ULAW"])
def test_a_wav_whose_recorder_lost_power(tmp_path: Path, tone: Tone, subtype: str) -> None:
    (tmp_path / "a.wav").write_bytes(resized(wav(tone, subtype=subtype), 0, 0))
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav", RATE), tone(seconds=2.0), atol=0.03)


def test_a_large_wav_without_its_sizes(tmp_path: Path, tone: Tone) -> None:
    soundfile.write(tmp_path / "a.wav", tone(seconds=2.0), RATE, format="RF64")
    content = bytearray((tmp_path / "a.wav").read_bytes())
    for sizes in (content[20:36], bytes(16)):
        content[20:36] = sizes
        (tmp_path / "a.wav").write_bytes(content)
        assert len(read_audio(tmp_path / "a.wav", RATE)) == 2 * RATE


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("behind", [True, False])
def test_chunks_of_odd_size_are_no_samples(tmp_path: Path, tone: Tone, padded: bool, behind: bool) -> None:
    content = wav(tone)
    chunk = b"LIST" + struct.pack("<I", 20_001) + b"x" * 20_001 + b"\0" * padded
    at = len(content) if behind else content.index(b"data")
    content[at:at] = chunk
    content[4:8] = struct.pack("<I", len(content) - 8)
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav", RATE), tone(seconds=2.0), atol=1e-4)


@pytest.mark.parametrize(("missing", "complaint"), [(0.03, None), (0.07, "1.86 s of the 2.00 s"), (0.2, "")])
def test_a_wav_without_its_end(tmp_path: Path, tone: Tone, missing: float, complaint: str | None) -> None:
    content = wav(tone)
    (tmp_path / "a.wav").write_bytes(content[: len(content) - round(missing * 2.0 * RATE) * 2])
    if complaint == "":
        for read in (lambda path: read_audio(path, RATE), read_tracks):
            with pytest.raises(EchoesError, match="ends before the length its header promises"):
                read(tmp_path / "a.wav")
        return
    with collected() as notes:
        wave = read_audio(tmp_path / "a.wav", RATE)
        assert read_tracks(tmp_path / "a.wav").sound == len(wave) / RATE
    assert len(wave) / RATE == pytest.approx(2.0 * (1 - missing), abs=1e-3)
    assert len(notes) == (complaint is not None)
    assert (complaint or "") in "".join(notes)


def test_mp3_inside_wav(tmp_path: Path, make_sound: Callable[..., Path], tone: Tone) -> None:
    mp3 = make_sound("a.mp3", "libmp3lame", tone(seconds=3.0), RATE)
    with av.open(str(mp3)) as source, av.open(str(tmp_path / "a.wav"), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    at = content.index(b"fact") + 8
    content[at : at + 4] = struct.pack("<I", 10 * RATE)  # more than there are
    (tmp_path / "a.wav").write_bytes(content)
    wave = read_audio(tmp_path / "a.wav", RATE)
    assert len(wave) / RATE == pytest.approx(3.0, abs=0.2)
    assert read_tracks(tmp_path / "a.wav").sound == pytest.approx(len(wave) / RATE, abs=0.08)


def mp3(path: Path, wave: np.ndarray, counted: bool, bit_rate: int = 64_000) -> Path:
    with av.open(str(path), "w", options={"write_xing": str(int(counted))}) as container:
        stream = container.add_stream("libmp3lame", rate=44_100, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(wave[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 44_100, 0, Fraction(1, 44_100)
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def test_an_mp3_whose_length_is_a_guess(tmp_path: Path, tone: Tone) -> None:
    wave = tone(sample_rate=44_100, seconds=4.0)
    parts = [mp3(tmp_path / "part.mp3", wave, False, rate).read_bytes() for rate in (32_000, 128_000)]
    path = tmp_path / "a.mp3"
    path.write_bytes(b"".join(parts))  # as with a variable bit rate
    with av.open(str(path)) as container:
        assert (container.duration or 0) / av.time_base > 8.0 / 0.9  # guessed from the first frames
    with collected() as notes:
        assert len(read_audio(path, 44_100)) / 44_100 == pytest.approx(8.0, abs=0.2)
        assert read_tracks(path).sound == pytest.approx(8.0, abs=0.2)
    assert notes == []


@pytest.mark.parametrize("behind", [b"APETAGEX" + bytes(range(256)) * 200, b"TAG" + bytes(125), bytes(50_000)])
@pytest.mark.parametrize("before", [b"", b"ID3\x04\0\0\0\x03\x0d\x40" + bytes(50_880)])
def test_tags_around_an_mp3(tmp_path: Path, tone: Tone, before: bytes, behind: bytes) -> None:
    path = mp3(tmp_path / "a.mp3", tone(sample_rate=44_100, seconds=4.0), counted=True)
    whole = read_audio(path, 44_100)
    path.write_bytes(before + path.read_bytes() + behind)
    with collected() as notes:
        assert len(read_audio(path, 44_100)) == pytest.approx(len(whole), abs=1200)
    assert notes == []


@pytest.mark.parametrize("factor", [0.5, 0.0])
def test_an_mp3_that_counts_too_few_frames(tmp_path: Path, tone: Tone, factor: float) -> None:
    path = mp3(tmp_path / "a.mp3", tone(sample_rate=44_100, seconds=4.0), counted=True)
    content = bytearray(path.read_bytes())
    at = max(content.find(b"Xing"), content.find(b"Info")) + 8
    content[at : at + 4] = struct.pack(">I", int(struct.unpack(">I", content[at : at + 4])[0] * factor))
    path.write_bytes(content)
    assert len(read_audio(path, 44_100)) / 44_100 == pytest.approx(4.0, abs=0.05)


def test_two_mp3_files_in_one(tmp_path: Path, tone: Tone) -> None:
    path = mp3(tmp_path / "a.mp3", tone(sample_rate=44_100, seconds=2.0), counted=True)
    path.write_bytes(path.read_bytes() * 2)
    with collected() as notes:
        assert len(read_audio(path, 44_100)) / 44_100 == pytest.approx(4.0, abs=0.15)
    assert notes == []
    assert read_tracks(path).sound == pytest.approx(4.0, abs=0.15)


@pytest.mark.parametrize("share", [0.5, 0.01])
def test_a_flac_file_that_counts_too_few_samples(tmp_path: Path, tone: Tone, share: float) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(seconds=4.0), RATE)
    content = bytearray(path.read_bytes())
    content[22:26] = struct.pack(">I", int(4 * RATE * share))
    for front in (b"", b"ID3\x04\0\0\0\0\0\x10" + bytes(16)):
        path.write_bytes(front + content)
        np.testing.assert_allclose(read_audio(path, RATE), tone(seconds=4.0), atol=1e-4)
        assert read_tracks(path).sound == 4.0
        assert len(read_audio_window(path, RATE, 3.0, 1.0)) == RATE


def ogg(wave: np.ndarray, subtype: str, rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format="OGG", subtype=subtype)
    return buffer.getvalue()


@pytest.mark.parametrize("subtypes", [("VORBIS", "VORBIS"), ("OPUS", "OPUS"), ("VORBIS", "VORBIS", "VORBIS")])
def test_a_chain_of_ogg_streams_is_one_sound(tmp_path: Path, tone: Tone, subtypes: tuple[str, ...]) -> None:
    path, rate = tmp_path / "a.ogg", 48_000
    waves = [tone(300.0 * 2**n, rate, 1.0 + n) for n in range(len(subtypes))]
    path.write_bytes(b"".join(ogg(wave, subtype, rate) for wave, subtype in zip(waves, subtypes, strict=True)))
    whole = np.concatenate(waves)
    heard = read_audio(path, rate)
    assert len(heard) == len(whole)
    assert np.corrcoef(heard, whole)[0, 1] > 0.95
    assert read_tracks(path) == (None, len(whole) / rate)
    for start in (0.25, 0.75, 1.5):
        part = read_audio_window(path, rate, start, 0.75)
        expected = whole[round(start * rate) :][: len(part)]
        assert np.corrcoef(part, expected)[0, 1] > 0.95


def test_a_chain_of_one_stream_twice_and_of_other_channels(tmp_path: Path, tone: Tone) -> None:
    mono, stereo = tone(seconds=1.0), np.stack([tone(seconds=1.0)] * 2, 1)
    first = ogg(mono, "VORBIS")
    (tmp_path / "a.ogg").write_bytes(first + first + ogg(stereo, "VORBIS"))
    assert len(read_audio(tmp_path / "a.ogg", RATE)) == 3 * RATE
    (tmp_path / "a.ogg").write_bytes(first + ogg(tone(sample_rate=8000), "VORBIS", 8000))
    with pytest.raises(EchoesError, match="changes its sample rate midway"):
        read_audio(tmp_path / "a.ogg", RATE)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "aac"), ("a.mkv", "aac"), ("a.avi", "libmp3lame")])
@pytest.mark.parametrize("share", [0.93, 0.6])
def test_videos_without_their_end(make_video: Callable[..., Path], name: str, codec: str, share: float) -> None:
    options = {"movflags": "faststart"} if name == "a.mp4" else {}
    path = make_video(name, frames=100, codec="mpeg4", sound=codec, options=options)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with collected() as notes:
        if share < 0.9:
            for read in (lambda: read_audio(path, RATE), lambda: read_tracks(path)):
                with pytest.raises(EchoesError, match="ends before the length its header promises|damaged, incomplete"):
                    read()
        else:
            assert 8.5 < len(read_audio(path, RATE)) / RATE < 10.1
            sound = read_tracks(path).sound
            assert sound is not None
            assert 8.5 < sound < 10.1
            # What is missing of the AVI is its index alone.
            assert name == "a.avi" or "its header promises; what is there is used" in "".join(notes)


def test_a_hole_in_a_recording_keeps_its_length(tmp_path: Path, tone: Tone) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for begin in (0, 3):
            block = (tone()[np.newaxis] * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, begin * RATE, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with collected() as notes:
        wave = read_audio(path, RATE)
    assert len(wave) == 4 * RATE
    assert not wave[RATE : 3 * RATE].any()
    np.testing.assert_allclose(wave[3 * RATE :], tone(), atol=1e-4)
    assert "from 1.00 to 3.00 s" in notes[0]


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "aac"), ("a.webm", "libopus"), ("a.mp4", "aac")])
def test_a_sound_alone_that_begins_late_is_whole(tmp_path: Path, tone: Tone, name: str, codec: str) -> None:
    path, rate = tmp_path / name, 48_000
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(sample_rate=rate)[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 2 * rate, Fraction(1, rate)
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with collected() as notes:
        assert len(read_audio(path, rate)) / rate == pytest.approx(1.0, abs=0.05)
        assert read_tracks(path).sound is not None
    assert notes == []


def test_a_part_of_gsm_in_wav(tmp_path: Path, tone: Tone) -> None:
    soundfile.write(tmp_path / "a.wav", tone(sample_rate=8000, seconds=3.0), 8000, subtype="GSM610")
    assert np.abs(read_audio_window(tmp_path / "a.wav", 8000, 1.5, 1.0)).max() > 0.3
