"""Sound files to mono waveforms, and WAV files back.

WAV and Ogg Vorbis are decoded by libsndfile; everything else, and the sound of videos, by libav, which also resamples
everything (libswresample). A file's content decides which, not its name. Channels are averaged; samples keep the
values of the file, where full scale is 1 and float files may exceed it.

What is damaged inside is noted and replaced by silence. A file of which less than nine tenths are there, by a header
that makes a real promise, or less than nine tenths can be decoded, is refused.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soundfile

from visual_echoes.errors import EchoesError, note
from visual_echoes.files import StrPath, atomic_path
from visual_echoes.media.decoders import Sound, open_sound
from visual_echoes.media.metadata import SOFTWARE, encode_comment
from visual_echoes.media.opening import KEPT, MAX_VIDEO_BYTES, VIDEO_SUFFIXES, open_source

MAX_AUDIO_BYTES = 512 * 1024**2
MAX_AUDIO_SECONDS = 600
MAX_AUDIO_CHANNELS = 32
MAX_SAMPLE_RATE = 400_000  # Hz
SILENT_PEAK = 1e-3  # below it a sound is silent: -60 dB of full scale

_KIND = "a sound (WAV, FLAC, OGG, MP3, M4A, AAC, Opus or a video with sound)"
_MAX_LEVEL = 1e12  # far above floats in the range of 32-bit integers, far below what overflows when resampled
_MAX_COMMENT = 60_000  # characters; libsndfile writes broken files beyond 100 kB of header
_ENERGY_BITS = 17  # squares of such numbers add up in 64 bits for more samples than may be read


def read_audio(path: StrPath, sample_rate: int) -> np.ndarray:
    """Read the sound of a file as float32 (samples,) at `sample_rate` Hz, mono.

    n samples at r Hz become exactly round(n * sample_rate / r). Of a file with several sound tracks it is the default
    one, or the best of those that can be decoded. That choice, damage inside and a missing end are noted.

    Raises:
        EchoesError: the file cannot be read, has the wrong format or no sound in it, is damaged by more than a tenth
            or cut short, holds no samples or values that are no numbers, or exceeds the limits on bytes, seconds,
            channels and rate.
    """
    if sample_rate < 1:
        raise ValueError(f"sample_rate must be positive, not {sample_rate}")
    with open_source(path, _max_bytes(path), _KIND) as file, open_sound(path, file) as sound:
        _check_header(path, sound, MAX_AUDIO_SECONDS)
        wave = _resample(_bounded(path, sound), sound.sample_rate, sample_rate)
        _note_lost(path, sound, sound.start, sound.start + len(wave) / sample_rate)
    if wave.size == 0:
        raise _no_sample(path)
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
    _check_seconds(path, seconds, MAX_AUDIO_SECONDS)
    with open_source(path, _max_bytes(path), _KIND) as file, open_sound(path, file, start) as sound:
        _check_header(path, sound, MAX_AUDIO_SECONDS)
        blocks = (_mono(path, block) for block in sound.blocks)
        wave = _resample(_window(path, sound, blocks, start, seconds), sound.sample_rate, sample_rate)[:samples]
        _note_lost(path, sound, start, start + seconds)
    return np.pad(wave, (0, samples - len(wave)))


def sound_start(path: StrPath) -> float:
    """When the first sample of `read_audio` is heard, in seconds after the start of the file: in a video maybe late.

    Raises:
        EchoesError: as `read_audio`.
    """
    with open_source(path, _max_bytes(path), _KIND) as file, open_sound(path, file) as sound:
        return sound.start


class Stretch(NamedTuple):
    """A part of a sound.

    Attributes:
        sample_rate: of the file, in Hz.
        samples: float32 (samples, channels) as in the file.
        mono: float32 (samples,) at the rate that was asked for.
    """

    sample_rate: int
    samples: np.ndarray
    mono: np.ndarray


def read_stretches(path: StrPath, sample_rate: int, seconds: float, longest: float) -> Iterator[Stretch]:
    """Read a sound of any length in stretches of so many seconds, of which the last may be shorter; only one is held.

    Raises:
        EchoesError: as `read_audio`, where `longest` stands for the limit on seconds.
    """
    with open_source(path, MAX_VIDEO_BYTES, _KIND) as file, open_sound(path, file) as sound:
        _check_header(path, sound, longest)
        rate, done, waiting = sound.sample_rate, 0, np.zeros((0, sound.channels), np.float32)
        number = 1
        for block in sound.blocks:
            waiting = np.concatenate([waiting, block])
            while len(waiting) >= (needed := round(number * seconds * rate) - done):
                yield _stretch(path, waiting[:needed], rate, sample_rate)
                waiting, done, number = waiting[needed:], done + needed, number + 1
                _check_seconds(path, done / rate, longest)
        if len(waiting):
            yield _stretch(path, waiting, rate, sample_rate)
        done += len(waiting)
        _note_lost(path, sound, sound.start, sound.start + done / rate)
    if not done:
        raise _no_sample(path)


def _stretch(path: StrPath, samples_NC: np.ndarray, rate: int, sample_rate: int) -> Stretch:
    return Stretch(rate, samples_NC, _resample([_mono(path, samples_NC)], rate, sample_rate))


def why_silent(path: StrPath, wave: np.ndarray, start: float = 0.0, seconds: float | None = None) -> str | None:
    """Why nothing is heard in a waveform (samples,) that was read from a file; None if something is.

    Args:
        start: where it begins, as for `read_audio_window`.
        seconds: its length; None for all of the file.
    """
    if np.abs(wave).max(initial=0.0) >= SILENT_PEAK:
        return None
    begin = None if seconds is None else start
    with open_source(path, _max_bytes(path), _KIND) as file, open_sound(path, file, begin) as sound:
        peaks: Iterator[np.ndarray] = (np.abs(block).max(axis=1) for block in sound.blocks)
        if seconds is not None:
            peaks = _window(path, sound, peaks, start, seconds)
        if any(block.max(initial=0.0) >= SILENT_PEAK for block in peaks):
            return "silent once its channels are mixed into one, as they cancel each other"
    return "silent all along"


def _max_bytes(path: StrPath) -> int:
    return MAX_VIDEO_BYTES if Path(path).suffix.lower() in VIDEO_SUFFIXES else MAX_AUDIO_BYTES


def _window(
    path: StrPath, sound: Sound, blocks: Iterable[np.ndarray], start: float, seconds: float
) -> Iterator[np.ndarray]:
    """The blocks (samples,) of a sound cut to the window."""
    first, length = round(start * sound.sample_rate), round(seconds * sound.sample_rate)
    place = round(sound.start * sound.sample_rate) - first  # of the next sample, after the window's first
    if place > 0:
        yield np.zeros(min(place, length), np.float32)
    for block in blocks:
        kept = block[max(0, -place) : max(0, length - place)]
        place += len(block)
        if len(kept):
            yield kept
        if place >= length:
            return
    if place < length * KEPT:
        raise EchoesError(f"{path} has no sound up to {start + seconds:g} s; choose an earlier part of it.")


def _note_lost(path: StrPath, sound: Sound, start: float, end: float) -> None:
    """Say what of a sound or a part of it could not be decoded; refuse one that is damaged by more than a tenth."""
    inside = [(max(one.start, start), min(one.end, end), one.damaged) for one in sound.lost]
    inside = [one for one in inside if one[0] < one[1]]
    if not inside:
        return
    first, until, _ = inside[0]
    if sum(b - a for a, b, damaged in inside if damaged) > (end - start) * (1 - KEPT):
        raise EchoesError(f"{path} is damaged from {first:.2f} s on: too little can be decoded; use another file.")
    more = f", nor at {len(inside) - 1} later places" if len(inside) > 1 else ""
    total = sum(b - a for a, b, _ in inside)
    note(
        f"{path} has no sound that can be decoded from {first:.2f} to {until:.2f} s{more}; {total:.2f} s of silence "
        "stand for it."
    )


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
    with atomic_path(path) as temporary, open_wav(temporary, sample_rate, metadata) as file:
        file.write(to_pcm(wave))


@contextmanager
def open_wav(target: Path, sample_rate: int, metadata: Mapping[str, str]) -> Iterator[soundfile.SoundFile]:
    """Yield a mono WAV file to be written block by block, as `to_pcm` gives them; its comment is the metadata as JSON.

    Raises:
        ValueError: the metadata is longer than a WAV header should be.
        OSError: the disk is full.
    """
    comment = encode_comment(metadata)
    if len(comment) > _MAX_COMMENT:
        raise ValueError(f"{len(comment)} characters of metadata are too many for a WAV file")
    try:
        with soundfile.SoundFile(target, "w", sample_rate, channels=1, format="WAV", subtype="PCM_16") as file:
            file.software = SOFTWARE
            file.comment = comment
            yield file
    except soundfile.LibsndfileError as error:  # it keeps the cause to itself; of an open file there is hardly another
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error


def to_pcm(wave: np.ndarray) -> np.ndarray:
    """A waveform in [-1, 1] as 16-bit samples, rounded, clipped to full scale."""
    return np.clip(np.rint(wave.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)


def check_wave(wave: np.ndarray) -> None:
    """Raise ValueError unless `wave` is (samples,) with at least one sample and only finite numbers."""
    if wave.ndim != 1 or wave.size == 0:
        raise ValueError(f"a waveform must be (samples,) with at least one sample, not {wave.shape}")
    if not np.isfinite(wave).all():
        raise ValueError("the waveform holds values that are no finite numbers")


def _mono(path: StrPath, block: np.ndarray) -> np.ndarray:
    """The mean of the channels of float32 (samples, channels)."""
    if not (np.abs(block) <= _MAX_LEVEL).all():  # also false for what is no number
        raise EchoesError(f"{path} holds samples that are no sensible numbers; export the sound again.")
    mean: np.ndarray = block.mean(axis=1)
    return mean


def _bounded(path: StrPath, sound: Sound) -> Iterator[np.ndarray]:
    """The blocks mixed, as long as they keep to the limit that the header promised to keep."""
    samples = 0
    for block in sound.blocks:
        samples += len(block)
        _check_seconds(path, samples / sound.sample_rate, MAX_AUDIO_SECONDS)
        yield _mono(path, block)


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


def _no_sample(path: StrPath) -> EchoesError:
    return EchoesError(f"{path} holds no sound, or less than one sample; use a longer one.")


def _check_header(path: StrPath, sound: Sound, longest: float) -> None:
    if not 1 <= sound.sample_rate <= MAX_SAMPLE_RATE:
        raise EchoesError(f"{path} claims {sound.sample_rate} Hz, outside 1 to {MAX_SAMPLE_RATE}; convert it.")
    if not 1 <= sound.channels <= MAX_AUDIO_CHANNELS:
        raise EchoesError(f"{path} claims {sound.channels} channels, outside 1 to {MAX_AUDIO_CHANNELS}; convert it.")
    _check_seconds(path, sound.seconds, longest)


def _check_seconds(path: StrPath, seconds: float, longest: float) -> None:
    if seconds > longest:
        raise EchoesError(f"{path} lasts longer than {longest:g} s; cut it into shorter pieces.")
