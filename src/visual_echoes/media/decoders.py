"""Sound files to blocks of samples: the decoder for each content, and what becomes of what it cannot decode.

WAV and intact Ogg Vorbis are decoded by libsndfile, everything else by libav; the links of a chained Ogg file one
after the other. What cannot be decoded is lost alone: silence stands for it, so that what follows stays at its time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import accumulate, chain
from typing import Any, BinaryIO, NamedTuple

import av
import numpy as np
import soundfile
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from visual_echoes.errors import EchoesError
from visual_echoes.files import StrPath
from visual_echoes.media import tracks
from visual_echoes.media.ogg import MAGIC, read_links
from visual_echoes.media.opening import (
    MAX_VIDEO_BYTES,
    check_length,
    open_container,
    open_source,
    part_of,
    seconds_in_file,
    time_in_stream,
)
from visual_echoes.media.wav import is_wav, wav_samples

_BLOCK = 1 << 16  # samples decoded at a time
_HEAD = 64  # bytes that tell formats apart
_PREROLL = 1.0  # seconds decoded before a part: a decoder needs some to be in tune
_HOLE = 0.015  # seconds without samples that are more than rounded times
_NEW_CLOCK = 600.0  # seconds: a hole as long as this is none, the times were set anew
_STRICT = {"flac": {"err_detect": "crccheck+explode"}}  # this decoder makes noise of damage unless told not to
_TAGS = (b"ID3", b"TAG", b"APETAGEX")  # what stands between MP3 files that were joined, and is no damage


class Lost(NamedTuple):
    """Seconds of a sound, after the start of the file, that silence stands for.

    Attributes:
        damaged: whether something was there; a video may also have holes in its sound that are meant.
    """

    start: float
    end: float
    damaged: bool


class Sound(NamedTuple):
    """A sound being decoded.

    Attributes:
        sample_rate: in Hz.
        seconds: its length as far as a header promises it; 0 if none does.
        start: when the first block begins, in seconds after the start of the file.
        blocks: float32 (samples, channels).
        lost: what silence stands for among the blocks so far.
    """

    sample_rate: int
    channels: int
    seconds: float
    start: float
    blocks: Iterator[np.ndarray]
    lost: list[Lost]


class SoundPart(NamedTuple):
    """A file, or one link of it, and whether libsndfile decodes it, which also knows its length to the sample."""

    file: BinaryIO
    counted: bool

    def seconds(self, path: StrPath) -> float:
        """How long its sound lasts, without decoding it; 0 if there is none."""
        self.file.seek(0)
        if self.counted:
            with soundfile.SoundFile(self.file) as file:
                return file.frames / file.samplerate
        return tracks.track_ends(path, self.file).sound or 0.0


def sound_parts(path: StrPath, file: BinaryIO) -> list[SoundPart]:
    """What has to be decoded one after the other; the content decides by which decoder, not the name.

    Raises:
        EchoesError: the file is cut short.
    """
    head = file.read(_HEAD)
    file.seek(0)
    if is_wav(head):
        return [SoundPart(*wav_samples(path, file))]
    if not head.startswith(MAGIC):
        return [SoundPart(file, False)]
    parts = []
    for link in read_links(path, file):
        part = part_of(file, link.start, link.end)
        is_vorbis = b"vorbis" in part.read(_HEAD)
        part.seek(0)
        parts.append(SoundPart(part, is_vorbis and link.whole))
    return parts


def read_tracks(path: StrPath) -> tracks.Tracks:
    """Pass over all packets of a video or a sound without decoding any; of some sounds the header is known to be true.

    Raises:
        EchoesError: the file cannot be read, is damaged, or is much shorter than its header promises.
    """
    with open_source(path, MAX_VIDEO_BYTES, "a video or a sound") as file:
        parts = sound_parts(path, file)
        if len(parts) == 1 and not parts[0].counted:
            return tracks.track_ends(path, parts[0].file)
        return tracks.Tracks(None, sum(part.seconds(path) for part in parts))


@contextmanager
def open_sound(path: StrPath, file: BinaryIO, start: float | None = None) -> Iterator[Sound]:
    """The decoder for the content of `file`: for all of it, or from some time before `start` seconds on."""
    parts = sound_parts(path, file)
    lost: list[Lost] = []
    lengths = [part.seconds(path) for part in parts] if len(parts) > 1 else [0.0]
    begins = [0.0, *accumulate(lengths)]
    first = max(index for index in range(len(parts)) if index == 0 or begins[index] <= (start or 0.0))
    with _open_part(path, parts[first], None if start is None else start - begins[first], begins[first], lost) as sound:
        later = _later_blocks(path, sound.sample_rate, parts[first + 1 :], begins[first + 1 :], lost)
        yield sound._replace(seconds=sound.seconds + sum(lengths[first + 1 :]), blocks=chain(sound.blocks, later))


def _later_blocks(
    path: StrPath, sample_rate: int, parts: Sequence[SoundPart], begins: Sequence[float], lost: list[Lost]
) -> Iterator[np.ndarray]:
    for part, begin in zip(parts, begins, strict=False):
        with _open_part(path, part, None, begin, lost) as sound:
            if sound.sample_rate != sample_rate:
                raise _other_rate(path)
            yield from sound.blocks


def _open_part(
    path: StrPath, part: SoundPart, start: float | None, begin: float, lost: list[Lost]
) -> AbstractContextManager[Sound]:
    """A part that begins at some second of the file, from before `start` seconds of it on."""
    part.file.seek(0)
    if part.counted:
        return _open_soundfile(path, part.file, start, begin, lost)
    return _open_stream(path, part.file, start, begin, lost)


@contextmanager
def _open_soundfile(
    path: StrPath, source: BinaryIO, start: float | None, begin: float, lost: list[Lost]
) -> Iterator[Sound]:
    with soundfile.SoundFile(source) as file:
        rate = file.samplerate
        first = min(file.frames, round((start or 0.0) * rate))
        if first:
            file.seek(first)
        seconds = file.frames / rate if start is None else 0.0
        yield Sound(rate, file.channels, seconds, begin + first / rate, _soundfile_blocks(path, file, first), lost)


def _soundfile_blocks(path: StrPath, file: soundfile.SoundFile, first: int) -> Iterator[np.ndarray]:
    decoded = first
    while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
        decoded += len(block)
        yield block
    check_length(path, decoded / file.samplerate, file.frames / file.samplerate)


@contextmanager
def _open_stream(
    path: StrPath, source: BinaryIO, start: float | None, begin: float, lost: list[Lost]
) -> Iterator[Sound]:
    with open_container(source) as container:
        decoder = _Decoder(path, container, tracks.sound_track(path, source, container), begin, lost)
        promised = 0.0
        if start is None:
            promised = tracks.promised_end(source, container, decoder.track)
        first = decoder.seek(start or 0.0)
        blocks = decoder.blocks(first, promised)
        yield Sound(first.sample_rate, first.layout.nb_channels, promised, begin + decoder.start, blocks, lost)


class _Decoder:
    """libav on one track. `start` is when the first frame begins, in seconds after the start of the container."""

    def __init__(
        self, path: StrPath, container: InputContainer, track: AudioStream, begin: float, lost: list[Lost]
    ) -> None:
        self.track, self.start = track, 0.0
        self._path, self._container, self._begin, self._lost = path, container, begin, lost
        self._damaged_at: float | None = None  # when the first of the packets begins that failed since the last frame
        self._end = 0.0  # of the packets so far, those of other tracks too
        self._frames: Iterator[av.AudioFrame] = iter(())
        track.codec_context.options = _STRICT.get(track.codec_context.name, {})

    def seek(self, start: float) -> av.AudioFrame:
        """The first frame from some time before `start` on, or of all where that is not found by seeking."""
        if start > _PREROLL:
            with suppress(av.FFmpegError):
                first = self._first_from(time_in_stream(self._container, self.track, start - _PREROLL))
                if first is not None and first.pts is not None and self.start <= start:
                    return first
            first = self._first_from(self.track.start_time or 0)
        else:
            first = self._first_from(None)
        if first is None:
            raise EchoesError(f"{self._path} holds no sound that can be decoded; export it again.")
        return first

    def blocks(self, first: av.AudioFrame, promised: float) -> Iterator[np.ndarray]:
        """The samples from the first frame on, with silence where there are none; checks the promised end."""
        rate = first.sample_rate
        to_float, timed = _ToFloat(), tracks.has_times(self._container)
        clock, decoded = self.start * rate, 0  # samples after the start of the container, of frames so far
        for frame in chain([first], self._frames):
            if frame.sample_rate != rate:
                raise _other_rate(self._path)
            due = clock + decoded
            known = frame.pts is not None and (timed or self._damaged_at is not None)
            hole = round(self._seconds_of(frame) * rate - due) if known else 0
            if abs(hole) >= _NEW_CLOCK * rate:
                clock += hole
            elif hole > (_HOLE * rate if self._damaged_at is None else 0):
                self._lose(due / rate, (due + hole) / rate)
                decoded += hole
                for first_lost in range(0, hole, _BLOCK):
                    yield np.zeros((min(_BLOCK, hole - first_lost), frame.layout.nb_channels), np.float32)
            self._damaged_at = None
            block = to_float(frame)
            decoded += len(block)
            yield block
        heard = (clock + decoded) / rate
        if self._damaged_at is not None and not 0 < promised <= heard + _HOLE:
            self._lose(heard, max(heard, self._end))
        check_length(self._path, self._end, promised)

    def _first_from(self, time: int | None) -> av.AudioFrame | None:
        """Decode from a time of the track on, or from where the container stands."""
        if time is not None:
            self._container.seek(time, stream=self.track)
        self._damaged_at = None
        self._frames = self._decoded()
        first = next(self._frames, None)
        if first is not None:
            self.start = 0.0 if first.pts is None else self._seconds_of(first)
            if self._damaged_at is not None:
                self.start = min(self.start, self._damaged_at)
        return first

    def _decoded(self) -> Iterator[av.AudioFrame]:
        matroska = tracks.is_matroska(self._container)
        for packet in tracks.packets_of(self._container, *(() if matroska else (self.track,))):
            self._end = max(self._end, tracks.end_of(self._container, packet))
            if packet.stream_index != self.track.index:
                continue
            frames = tracks.frames_in(packet)
            if frames is not None:
                yield from frames
            elif self._damaged_at is None and not bytes(packet).startswith(_TAGS):
                self._damaged_at = 0.0 if packet.pts is None else self._seconds_of(packet)

    def _seconds_of(self, timed: av.AudioFrame | Packet[Any]) -> float:
        assert timed.pts is not None
        return seconds_in_file(self._container, self.track, timed.pts)

    def _lose(self, start: float, end: float) -> None:
        damaged = self._damaged_at is not None or not tracks.may_have_holes(self._container)
        self._lost.append(Lost(self._begin + start, self._begin + end, damaged))


class _ToFloat:
    """Frames of any format to float32 (samples, channels)."""

    def __init__(self) -> None:
        self._resamplers: dict[tuple[str, str], av.AudioResampler] = {}

    def __call__(self, frame: av.AudioFrame) -> np.ndarray:
        # Packed samples: PyAV 18 reads beyond planar ones of 8 or more channels and may crash.
        kind = frame.format.name, frame.layout.name
        resampler = self._resamplers.setdefault(kind, av.AudioResampler(format="flt"))
        parts = [part.to_ndarray().reshape(part.samples, -1) for part in resampler.resample(frame)]
        return np.concatenate(parts) if parts else np.zeros((0, frame.layout.nb_channels), np.float32)


def _other_rate(path: StrPath) -> EchoesError:
    return EchoesError(f"{path} changes its sample rate midway; convert it to one rate.")
