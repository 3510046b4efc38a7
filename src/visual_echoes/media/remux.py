"""A video with another sound: the packets of its video track are copied, the sound is encoded beside them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from fractions import Fraction
from heapq import merge
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from visual_echoes.errors import EchoesError, note
from visual_echoes.files import StrPath, atomic_path
from visual_echoes.media.decoders import read_tracks
from visual_echoes.media.metadata import encode_comment
from visual_echoes.media.mp4 import SOUND_BITS, SOUND_RATE, decoding_time
from visual_echoes.media.opening import (
    MAX_VIDEO_BYTES,
    VIDEO_KIND,
    check_length,
    open_container,
    open_source,
    seconds_in_file,
)
from visual_echoes.media.tracks import (
    end_of,
    frames_of,
    is_matroska,
    packets_of,
    promised_end,
    sound_track,
    video_track,
)

_BLOCK = 1 << 15  # samples


def video_seconds(path: StrPath) -> tuple[float, float]:
    """When the video track of a file begins, after the start of the file, and how long it is shown; both in seconds.

    Read from the packets, so that no header is trusted.

    Raises:
        EchoesError: no video, one without a frame, or one that ends much sooner than its header promises.
    """
    with open_source(path, MAX_VIDEO_BYTES, VIDEO_KIND) as file, open_container(file) as container:
        stream = video_track(path, file, container)
        first, last, there = None, 0.0, 0.0
        whole = is_matroska(container)  # whose header speaks of all tracks
        for packet in packets_of(container, *(() if whole else (stream,))):
            there = max(there, end_of(container, packet))
            time = packet.pts if packet.pts is not None else packet.dts
            if packet.stream_index != stream.index or time is None or packet.size == 0 or packet.is_discard:
                continue
            begins = seconds_in_file(container, stream, time)
            first = begins if first is None else min(first, begins)
            last = max(last, end_of(container, packet))
        if first is None or last <= first:
            raise EchoesError(f"{path} has no frame to be seen; use another video.")
        check_length(path, there, promised_end(file, container, stream))
    return first, last - first


def suffix_of_copy(path: StrPath) -> str:
    """What a copy of a video by `write_with_sound` is called: ".mp4", or ".mkv" where MP4 cannot hold its codec.

    Raises:
        EchoesError: the video cannot be read, or its codec not copied.
    """
    with open_source(path, MAX_VIDEO_BYTES, VIDEO_KIND) as file, open_container(file) as container:
        return _container_for(path, video_track(path, file, container))[1]


def check_copy(path: StrPath, own_sound: bool) -> None:
    """Refuse a video that `write_with_sound` could not write, before a sound is made for it.

    Args:
        own_sound: whether the video's own sound is to stay.

    Raises:
        EchoesError: as `suffix_of_copy`, or no sound of its own.
    """
    suffix_of_copy(path)
    if own_sound and read_tracks(path).sound is None:
        raise EchoesError(f"{path} has no sound to keep beneath; leave out the mix.")


def write_with_sound(
    target: Path,
    source: StrPath,
    blocks: Iterable[np.ndarray],
    rate: int,
    metadata: Mapping[str, str],
    mix_db: float | None = None,
) -> Path:
    """Write a video with another sound, which begins with its video track; returns the file.

    The track's packets are copied, its rotation and the file's metadata with them. The file is MP4, or Matroska (with
    the suffix .mkv) where MP4 cannot hold the track's codec.

    Args:
        target: with the suffix .mp4.
        blocks: the sound, mono in [-1, 1], in order.
        rate: of the sound, in Hz.
        metadata: written as the comment.
        mix_db: level at which the video's own sound stays beneath; None leaves it out.

    Raises:
        EchoesError: the video cannot be read or its codec not copied, or the file cannot be written.
    """
    with ExitStack() as stack:
        file = stack.enter_context(open_source(source, MAX_VIDEO_BYTES, VIDEO_KIND))
        container = stack.enter_context(open_container(file))
        track = video_track(source, file, container)
        name, suffix = _container_for(source, track)
        path = target.with_suffix(suffix)
        if suffix != target.suffix:
            note(f"{source} has video in {_codec(track)}, which MP4 cannot hold; {path.name} is written instead.")
        temporary = stack.enter_context(atomic_path(path))
        # The edit list that says how long the sound is counts in this unit, else in milliseconds.
        options = {"movie_timescale": str(SOUND_RATE)} if name == "mp4" else {}
        output = stack.enter_context(av.open(str(temporary), "w", format=name, options=options))
        copied = _add_copy(output, track)
        for key, value in container.metadata.items():
            output.metadata[key] = value
        output.metadata["comment"] = encode_comment(metadata)
        sound = output.add_stream("aac", rate=SOUND_RATE, layout="mono")
        assert isinstance(sound, AudioStream)
        sound.bit_rate = SOUND_BITS
        first, seconds = video_seconds(source)
        at_rate = _resampled(blocks, rate, round(seconds * SOUND_RATE))
        if mix_db is not None:
            own = _own_sound(source, first, stack)
            at_rate = _mixed(at_rate, own, 10.0 ** (mix_db / 20.0))
        copies = _copies(container, track, copied)
        begins = Fraction(first).limit_denominator(SOUND_RATE)
        output.start_encoding()
        for packet in merge(copies, _encoded(sound, at_rate, begins), key=decoding_time):
            output.mux(packet)
    return path


def _container_for(source: StrPath, track: VideoStream) -> tuple[str, str]:
    """The format that holds the track's packets as they are, and its suffix."""
    if track.codec_context.has_b_frames and track.container.format.name == "avi":
        raise EchoesError(f"{source} holds frames out of order without their times (AVI); convert it to MP4.")
    for name, suffix in (("mp4", ".mp4"), ("matroska", ".mkv")):
        with suppress(ValueError, av.FFmpegError), av.open(io.BytesIO(), "w", format=name) as trial:
            _add_copy(trial, track)
            trial.start_encoding()  # some formats refuse a codec only as they begin
            return name, suffix
    raise EchoesError(f"{source} has video in {_codec(track)}, which cannot be copied; convert it to H.264.")


def _add_copy(container: OutputContainer, track: VideoStream) -> VideoStream:
    """A track for the other's packets, whether or not its codec can be encoded here."""
    return container.add_stream_from_template(track, opaque=True)


def _codec(track: VideoStream) -> str:
    """What a track's codec is called, whichever library decodes it."""
    return track.codec_context.codec.canonical_name


def _copies(container: InputContainer, track: VideoStream, copied: VideoStream) -> Iterator[Packet[Any]]:
    """The track's packets, for the stream that they are copied into."""
    for packet in container.demux(track):
        if packet.size == 0:
            continue
        if packet.pts is None:
            packet.pts = packet.dts
        packet.stream = copied
        yield packet


def _resampled(blocks: Iterable[np.ndarray], rate: int, samples: int) -> Iterator[np.ndarray]:
    """The sound at `SOUND_RATE`, exactly so many samples: cut, or followed by silence."""
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=SOUND_RATE)
    left = samples
    for block in _frames(blocks, rate):
        for frame in resampler.resample(block):
            part: np.ndarray = frame.to_ndarray()[0][:left]
            left -= len(part)
            yield part
    while left:
        part = np.zeros(min(left, _BLOCK), np.float32)
        left -= len(part)
        yield part


def _frames(blocks: Iterable[np.ndarray], rate: int) -> Iterator[av.AudioFrame | None]:
    """Blocks as frames, and None after the last."""
    for block in blocks:
        samples = np.ascontiguousarray(block[np.newaxis], np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = rate
        yield frame
    yield None


def _own_sound(source: StrPath, first: float, stack: ExitStack) -> Iterator[np.ndarray]:
    """The video's own sound at `SOUND_RATE` from a time of the file on, silence where it has none."""
    file = stack.enter_context(open_source(source, MAX_VIDEO_BYTES, VIDEO_KIND))
    container = stack.enter_context(open_container(file))
    track = sound_track(source, file, container)
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=SOUND_RATE)
    place = None
    for frame in frames_of(container, track):
        if place is None:
            time = 0.0 if frame.pts is None else seconds_in_file(container, track, frame.pts)
            place = round((time - first) * SOUND_RATE)
            if place > 0:
                yield np.zeros(place, np.float32)
        for part in resampler.resample(frame):
            samples: np.ndarray = part.to_ndarray()[0]
            skipped = min(max(0, -place), len(samples))
            place += len(samples)
            yield samples[skipped:]


def _mixed(sound: Iterable[np.ndarray], own: Iterable[np.ndarray], gain: float) -> Iterator[np.ndarray]:
    """The sound with another beneath it, as long as the sound is; what passes full scale is turned down as a whole."""
    parts = iter(own)
    waiting = np.zeros(0, np.float32)
    for block in sound:
        while len(waiting) < len(block) and (part := next(parts, None)) is not None:
            waiting = np.concatenate([waiting, part])
        beneath, waiting = waiting[: len(block)], waiting[len(block) :]
        mixed = block.copy()
        mixed[: len(beneath)] += gain * beneath
        yield mixed / (1.0 + gain)


def _encoded(stream: AudioStream, blocks: Iterable[np.ndarray], begins: Fraction) -> Iterator[Packet[Any]]:
    """Packets of a sound that begins at a time of the file, in seconds."""
    done = round(begins * SOUND_RATE)
    for block in blocks:
        if not len(block):
            continue
        samples = np.ascontiguousarray(block[np.newaxis].clip(-1.0, 1.0), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = SOUND_RATE, Fraction(1, SOUND_RATE), done
        done += len(block)
        yield from stream.encode(frame)
    yield from stream.encode(None)
