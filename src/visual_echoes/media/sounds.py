"""Sound files to mono waveforms, and WAV files back.

WAV, FLAC and Ogg Vorbis are decoded by libsndfile; MP3, M4A, AAC, Opus and the sound of videos by libav,
which also resamples everything (libswresample). A file's content decides which, not its name. Channels are
averaged; samples keep the values of the file, where full scale is 1 and float files may exceed it.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import numpy as np
import soundfile
from av.audio.stream import AudioStream
from av.container import InputContainer

from visual_echoes.errors import EchoesError
from visual_echoes.files import StrPath, write_bytes
from visual_echoes.media.comments import SOFTWARE, encode_comment
from visual_echoes.media.sources import (
    MAX_VIDEO_BYTES,
    VIDEO_SUFFIXES,
    open_container,
    open_source,
    seconds_in_file,
    time_in_stream,
)

MAX_AUDIO_BYTES = 512 * 1024**2
MAX_AUDIO_SECONDS = 600
MAX_AUDIO_CHANNELS = 32
MAX_SAMPLE_RATE = 400_000  # Hz

_KIND = "a sound (WAV, FLAC, OGG, MP3, M4A, AAC, Opus or a video with sound)"
_MAX_LEVEL = 1e12  # far above floats in the range of 32-bit integers, far below what overflows when resampled
_MAX_COMMENT = 60_000  # characters; libsndfile writes broken files beyond 100 kB of header
_BLOCK = 1 << 16  # samples decoded at a time
_STREAMED_RIFF = 0x7FFF0000  # programs that write WAV to a pipe promise this size or more
_RIFF_SLACK = 8  # bytes: some programs count the header twice
_OGG_TAIL = 1 << 17  # bytes, longer than the longest Ogg page
_ENERGY_BITS = 17  # squares of such numbers add up in 64 bits for more samples than may be read
_KEPT_OF_PROMISED = 0.9  # share of the promised length below which a compressed sound counts as cut short
_PREROLL = 1.0  # seconds decoded before a window: a decoder needs some to be in tune


class _Sound(NamedTuple):
    """A sound being decoded: its rate in Hz, its mono float32 blocks and where they begin in the file."""

    sample_rate: int
    blocks: Iterator[np.ndarray]
    start: float  # seconds


def read_audio(path: StrPath, sample_rate: int) -> np.ndarray:
    """Read the sound of a file as float32 (samples,) at `sample_rate` Hz, mono.

    n samples at r Hz become exactly round(n * sample_rate / r).

    Raises:
        EchoesError: the file cannot be read, has the wrong format or no sound in it, is damaged or cut short,
            holds no samples or values that are no numbers, or exceeds the limits on bytes, seconds, channels
            and rate.
    """
    if sample_rate < 1:
        raise ValueError(f"sample_rate must be positive, not {sample_rate}")
    with open_source(path, _max_bytes(path), _KIND) as file, _open_sound(path, file) as sound:
        wave = _resample(_bounded(path, sound), sound.sample_rate, sample_rate)
    if wave.size == 0:
        raise EchoesError(f"{path} holds no sound, or less than one sample; use a longer one.")
    return wave


def read_audio_window(path: StrPath, sample_rate: int, start: float, seconds: float) -> np.ndarray:
    """Read a part of a sound, float32 (round(seconds * sample_rate),) at `sample_rate` Hz, mono.

    Only the part is decoded, so the sound may be of any length. A track that begins later than the file is preceded
    by silence, and what is missing of the last tenth of the part is silence too.

    Args:
        start: seconds after the start of the file, which is where its first track begins.

    Raises:
        EchoesError: as `read_audio`, or the sound ends before nine tenths of the part.
    """
    samples = round(seconds * sample_rate)
    if sample_rate < 1 or start < 0 or samples < 1:
        raise ValueError(f"no part of a sound: {seconds} s from {start} s at {sample_rate} Hz")
    _check_seconds(path, seconds)
    with open_source(path, _max_bytes(path), _KIND) as file, _open_sound(path, file, start) as sound:
        wave = _resample(_window(path, sound, start, seconds), sound.sample_rate, sample_rate)[:samples]
    return np.pad(wave, (0, samples - len(wave)))


def _max_bytes(path: StrPath) -> int:
    return MAX_VIDEO_BYTES if Path(path).suffix.lower() in VIDEO_SUFFIXES else MAX_AUDIO_BYTES


def _window(path: StrPath, sound: _Sound, start: float, seconds: float) -> Iterator[np.ndarray]:
    """The blocks cut to the window."""
    first, length = round(start * sound.sample_rate), round(seconds * sound.sample_rate)
    place = round(sound.start * sound.sample_rate) - first  # of the next sample, after the window's first
    if place > 0:
        yield np.zeros(min(place, length), np.float32)
    for block in sound.blocks:
        kept = block[max(0, -place) : max(0, length - place)]
        place += len(block)
        if len(kept):
            yield kept
        if place >= length:
            return
    if place < length * _KEPT_OF_PROMISED:
        raise EchoesError(f"{path} has no sound up to {start + seconds:g} s; choose an earlier part of it.")


def fit_audio(wave: np.ndarray, samples: int) -> np.ndarray:
    """Pad or cut a waveform (n,) to (samples,).

    A shorter one is centred in zeros, an odd one going after it. A longer one is cut to the window with the
    largest energy, the first of them if several have the same.
    """
    missing = samples - len(wave)
    if missing >= 0:
        return np.pad(wave, (missing // 2, missing - missing // 2))
    start = _loudest_start(wave, samples)
    return wave[start : start + samples].copy()


def write_wav(path: StrPath, wave: np.ndarray, sample_rate: int, metadata: Mapping[str, str]) -> None:
    """Write a waveform (samples,) as 16-bit PCM, clipped to [-1, 1], its comment the metadata as JSON.

    Raises:
        ValueError: the waveform is not one-dimensional, is empty or holds values that are no finite numbers,
            or the metadata is longer than a WAV header should be.
        EchoesError: the file cannot be written.
    """
    check_wave(wave)
    comment = encode_comment(metadata)
    if len(comment) > _MAX_COMMENT:
        raise ValueError(f"{len(comment)} characters of metadata are too many for a WAV file")
    pcm = np.clip(np.rint(wave.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", sample_rate, channels=1, format="WAV", subtype="PCM_16") as file:
        file.software = SOFTWARE
        file.comment = comment
        file.write(pcm)
    write_bytes(path, buffer.getvalue())


def check_wave(wave: np.ndarray) -> None:
    """Raise ValueError unless `wave` is (samples,) with at least one sample and only finite numbers."""
    if wave.ndim != 1 or wave.size == 0:
        raise ValueError(f"a waveform must be (samples,) with at least one sample, not {wave.shape}")
    if not np.isfinite(wave).all():
        raise ValueError("the waveform holds values that are no finite numbers")


def _open_sound(path: StrPath, file: BinaryIO, start: float | None = None) -> AbstractContextManager[_Sound]:
    """The decoder for the content of `file`, its header checked: for all of it, or from before `start` seconds on."""
    return _open_soundfile(path, file, start) if _is_for_soundfile(path, file) else _open_stream(path, file, start)


def _is_for_soundfile(path: StrPath, file: BinaryIO) -> bool:
    """Whether libsndfile decodes what `file` holds, which is checked for being complete and left at its start."""
    head = file.read(64)
    _check_complete(path, file, head)
    file.seek(0)
    is_wave = head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"
    is_vorbis = head[:4] == b"OggS" and b"vorbis" in head
    is_flac = head[:4] == b"fLaC" and any(head[22:26])  # with its number of samples, which libsndfile needs
    return is_wave or is_vorbis or is_flac


def soundfile_seconds(path: StrPath, file: BinaryIO) -> float | None:
    """The length of a sound that libsndfile decodes; None, and `file` at its start, for what libav does."""
    if not _is_for_soundfile(path, file):
        return None
    with soundfile.SoundFile(file) as sound:
        return sound.frames / sound.samplerate


@contextmanager
def _open_soundfile(path: StrPath, source: BinaryIO, start: float | None) -> Iterator[_Sound]:
    with soundfile.SoundFile(source) as file:
        seconds = file.frames / file.samplerate if start is None else 0.0
        _check_header(path, file.samplerate, file.channels, seconds)
        first = min(file.frames, round((start or 0.0) * file.samplerate))
        if first:
            file.seek(first)
        yield _Sound(file.samplerate, _soundfile_blocks(path, file, first), first / file.samplerate)


def _soundfile_blocks(path: StrPath, file: soundfile.SoundFile, first: int) -> Iterator[np.ndarray]:
    decoded = first
    while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
        decoded += len(block)
        yield _mono(path, block)
    if decoded < file.frames:
        raise _cut_short(path)


@contextmanager
def _open_stream(path: StrPath, source: BinaryIO, start: float | None) -> Iterator[_Sound]:
    with open_container(source) as container:
        if not container.streams.audio:
            raise EchoesError(f"{path} has no sound in it; use a file with a sound track.")
        stream = container.streams.audio[0]
        seconds = _promised_seconds(container, stream) if start is None else 0.0
        _check_header(path, stream.sample_rate, stream.layout.nb_channels, seconds)
        frames = _frames_from(container, stream, start or 0.0)
        first = next(frames, None)
        if first is None:
            raise EchoesError(f"{path} holds no sound that can be decoded; export it again.")
        _check_header(path, first.sample_rate, first.layout.nb_channels, 0.0)  # headers may lie
        blocks = _stream_blocks(path, chain([first], frames), first.sample_rate, seconds)
        yield _Sound(first.sample_rate, blocks, _seconds_of(container, stream, first))


def _frames_from(container: InputContainer, stream: AudioStream, start: float) -> Iterator[av.AudioFrame]:
    """The frames from some time before `start` on, or from the first one where it is not found by seeking."""
    if start > _PREROLL:
        with suppress(av.FFmpegError):
            container.seek(time_in_stream(container, stream, start - _PREROLL), stream=stream)
            frames = container.decode(stream)
            first = next(frames, None)
            if first is not None and first.pts is not None and _seconds_of(container, stream, first) <= start:
                return chain([first], frames)
        container.seek(stream.start_time or 0, stream=stream)
    return container.decode(stream)


def _seconds_of(container: InputContainer, stream: AudioStream, frame: av.AudioFrame) -> float:
    """When a frame begins, in seconds after the start of the file."""
    return 0.0 if frame.pts is None else seconds_in_file(container, stream, frame.pts)


def _promised_seconds(container: InputContainer, stream: AudioStream) -> float:
    """The length in the header; 0 if there is none or libav has only guessed it, as for bare AAC."""
    if container.format.name == "aac" or stream.duration is None or stream.time_base is None:
        return 0.0
    return float(stream.duration * stream.time_base)


def _stream_blocks(
    path: StrPath, frames: Iterable[av.AudioFrame], sample_rate: int, promised_seconds: float
) -> Iterator[np.ndarray]:
    # Packed samples: PyAV 18 reads beyond planar ones of 8 or more channels and may crash.
    to_float = av.AudioResampler(format="flt")
    decoded = 0
    for frame in frames:
        if frame.sample_rate != sample_rate:
            raise EchoesError(f"{path} changes its sample rate midway; convert it to one rate.")
        for converted in to_float.resample(frame):
            decoded += converted.samples
            yield _mono(path, converted.to_ndarray().reshape(converted.samples, -1))
    if decoded < promised_seconds * sample_rate * _KEPT_OF_PROMISED:
        raise _cut_short(path)


def _mono(path: StrPath, block: np.ndarray) -> np.ndarray:
    """The mean of the channels of float32 (samples, channels)."""
    if not (np.abs(block) <= _MAX_LEVEL).all():  # also false for what is no number
        raise EchoesError(f"{path} holds samples that are no sensible numbers; export the sound again.")
    mean: np.ndarray = block.mean(axis=1)
    return mean


def _bounded(path: StrPath, sound: _Sound) -> Iterator[np.ndarray]:
    """The blocks, as long as they keep to the limit that the header promised to keep."""
    samples = 0
    for block in sound.blocks:
        samples += len(block)
        _check_seconds(path, samples / sound.sample_rate)
        yield block


def _resample(blocks: Iterable[np.ndarray], old_rate: int, new_rate: int) -> np.ndarray:
    """All blocks in one float32 waveform of exactly round(samples * new_rate / old_rate) samples."""
    parts = [np.zeros(0, np.float32)]
    if old_rate == new_rate:
        return np.concatenate([*parts, *blocks])
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=new_rate)
    samples = 0
    for block in blocks:
        samples += len(block)
        frame = av.AudioFrame.from_ndarray(block[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = old_rate
        parts += [new.to_ndarray()[0] for new in resampler.resample(frame)]
    parts += [new.to_ndarray()[0] for new in resampler.resample(None)]
    length = round(samples * new_rate / old_rate)
    wave = np.concatenate(parts)[:length]
    return np.pad(wave, (0, length - len(wave)))


def _loudest_start(wave: np.ndarray, samples: int) -> int:
    """Where the window of `samples` with the largest energy starts.

    Energies are summed over whole numbers, scaled by a power of two to at most 2^17: running sums of floats
    differ in their last bits, so that windows of equal energy would not compare equal.
    """
    peak = np.abs(wave).max()
    if peak == 0:
        return 0
    levels = np.rint(np.ldexp(wave.astype(np.float64), _ENERGY_BITS - np.frexp(peak)[1])).astype(np.int64)
    running = np.concatenate([[0], np.cumsum(levels**2)])
    return int(np.argmax(running[samples:] - running[:-samples]))


def _check_header(path: StrPath, sample_rate: int, channels: int, seconds: float) -> None:
    if not 1 <= sample_rate <= MAX_SAMPLE_RATE:
        raise EchoesError(f"{path} claims {sample_rate} Hz, outside 1 to {MAX_SAMPLE_RATE}; convert it.")
    if not 1 <= channels <= MAX_AUDIO_CHANNELS:
        raise EchoesError(f"{path} claims {channels} channels, outside 1 to {MAX_AUDIO_CHANNELS}; convert it.")
    _check_seconds(path, seconds)


def _check_seconds(path: StrPath, seconds: float) -> None:
    if seconds > MAX_AUDIO_SECONDS:
        raise EchoesError(f"{path} lasts longer than {MAX_AUDIO_SECONDS} s; cut it into shorter pieces.")


def _cut_short(path: StrPath) -> EchoesError:
    return EchoesError(f"{path} ends before the length its header promises; copy it again.")


def _check_complete(path: StrPath, file: BinaryIO, head: bytes) -> None:
    """Refuse WAV and Ogg files that stop in the middle, which their decoders pass off as shorter ones."""
    size = file.seek(0, os.SEEK_END)
    if head[:4] == b"RIFF" and len(head) >= 8:
        promised = struct.unpack("<I", head[4:8])[0]
        if size + _RIFF_SLACK < promised + 8 and promised < _STREAMED_RIFF:
            raise _cut_short(path)
    if head[:4] == b"OggS":
        file.seek(max(0, size - _OGG_TAIL))
        if _stops_inside_ogg_page(file.read()):
            raise _cut_short(path)


def _stops_inside_ogg_page(tail: bytes) -> bool:
    """Whether the last page in the end of an Ogg file is incomplete (RFC 3533, section 6)."""
    start = tail.rfind(b"OggS")
    if start < 0:
        return False
    page = tail[start:]
    segments = page[26] if len(page) > 26 else 0
    header = 27 + segments
    return len(page) < header + sum(page[27:header])
