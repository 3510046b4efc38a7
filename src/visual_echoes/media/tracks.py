"""The tracks of a container: which one is used, when they end, and what of them can be decoded.

Everything that reads a file (sounds, parts of them, frames, lengths) asks here, so that all take the same track.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO, Literal, NamedTuple, TypeVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from visual_echoes.errors import EchoesError, note
from visual_echoes.files import StrPath
from visual_echoes.media.opening import check_length, open_container, seconds_in_file

# Formats whose header says how long each track is, counted by whoever wrote it; Matroska says it of the whole file.
# Of bare AAC, MP3 and WAV libav guesses it from the bit rate, which is no promise.
_COUNTED = ("mov", "flac", "ogg")
_PROBED = 2000  # packets in which a track must show that it can be decoded, where there is another to take
_LONGEST = {"vorbis": 0.3, "opus": 0.15}  # seconds of a packet; libav gives the last one what an Ogg page has lost
# The first frame of an MP3 may hold a count of frames instead of sound: made by Xing, written by LAME and libav.
_XING_SEARCHED = 1 << 16  # bytes after the tags in which the first frame must begin
_MPEG_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # Hz, by version
_XING_COUNTS_FRAMES = 1  # flag

_Track = TypeVar("_Track", AudioStream, VideoStream)


class Tracks(NamedTuple):
    """When the tracks of a file end, in seconds after its start; None for one that it does not have."""

    image: float | None
    sound: float | None


def sound_track(path: StrPath, file: BinaryIO, container: InputContainer) -> AudioStream:
    """The sound track that is used of a container, which was opened from `file`.

    Of those that can be decoded it is the default one, or else the one that libav ranks highest. A choice is noted.

    Raises:
        EchoesError: there is none, or none that can be decoded.
    """
    return _chosen(path, file, container, AudioStream, "sound")


def video_track(path: StrPath, file: BinaryIO, container: InputContainer) -> VideoStream:
    """As `sound_track`; the cover of an album is taken for a video only where there is no other."""
    return _chosen(path, file, container, VideoStream, "video")


def track_ends(path: StrPath, file: BinaryIO) -> Tracks:
    """When the tracks that are used end, by their packets.

    Raises:
        EchoesError: one ends much sooner than its header promises.
    """
    with open_container(file) as container:
        image = video_track(path, file, container) if _has(path, container, "video") else None
        sound = sound_track(path, file, container) if _has(path, container, "audio") else None
        ends: dict[int, float] = defaultdict(float)
        for packet in packets_of(container):
            ends[packet.stream_index] = max(ends[packet.stream_index], end_of(container, packet))
        found = [_end(path, file, container, track, ends) for track in (image, sound)]
    return Tracks(*found)


def packets_of(container: InputContainer, *tracks: Stream) -> Iterator[Packet[Any]]:
    """The packets of some tracks, of all if none is named, as far as they can be found."""
    try:
        yield from container.demux(*tracks)
    except MemoryError:
        raise
    except av.FFmpegError:
        return  # what is behind is missing, which its length tells


def frames_in(packet: Packet[Any]) -> list[Any] | None:
    """What the decoder makes of a packet; None if it is damaged."""
    try:
        return packet.decode()
    except MemoryError:
        raise
    except av.FFmpegError:
        return None


def frames_of(container: InputContainer, track: Stream) -> Iterator[Any]:
    """The frames of a track from where the container stands; what cannot be decoded is left out."""
    for packet in packets_of(container, track):
        yield from frames_in(packet) or ()


def end_of(container: InputContainer, packet: Packet[Any]) -> float:
    """When a packet ends, in seconds after the start of the file; 0 if it does not say."""
    time = packet.pts if packet.pts is not None else packet.dts
    if time is None or packet.size == 0:
        return 0.0
    start = seconds_in_file(container, packet.stream, time)
    end = seconds_in_file(container, packet.stream, time + (packet.duration or 0))
    codec = packet.stream.codec_context
    return end if end - start <= _LONGEST.get(codec.name if codec else "", end - start) else start


def promised_end(file: BinaryIO, container: InputContainer, track: Stream) -> float:
    """When the last packet must end, in seconds after the start of the file; 0 if the format promises nothing.

    In Matroska it is the last of all tracks, elsewhere that of this one.
    """
    if container.format.name == "mp3":
        counted = _xing_seconds(file)
        return counted and counted + seconds_in_file(container, track, 0)
    if is_matroska(container):
        # It counts from 0, wherever the first track begins.
        return ((container.duration or 0) - (container.start_time or 0)) / av.time_base
    if container.format.name == "avi":  # without its index libav takes the length from what is there
        return seconds_in_file(container, track, (track.start_time or 0) + track.frames)
    if container.format.name.startswith(_COUNTED) and track.duration is not None:
        return seconds_in_file(container, track, (track.start_time or 0) + track.duration)
    return 0.0


def is_matroska(container: InputContainer) -> bool:
    """Whether it is Matroska or WebM."""
    return container.format.name.startswith("matroska")


def has_times(container: InputContainer) -> bool:
    """Whether its packets come with their times, so that a hole is one; elsewhere libav counts them."""
    return container.format.name.startswith(("matroska", "mov", "flac", "ogg"))


def may_have_holes(container: InputContainer) -> bool:
    """Whether holes may be meant, as where a recorder heard nothing."""
    return container.format.name.startswith(("matroska", "mov"))


def _has(path: StrPath, container: InputContainer, kind: Literal["audio", "video"]) -> bool:
    tracks = [stream for stream in container.streams if stream.type == kind]
    if tracks and all(track.codec_context is None for track in tracks):
        note(_unknown(path, "sound" if kind == "audio" else kind))
        return False
    return bool(tracks)


def _chosen(path: StrPath, file: BinaryIO, container: InputContainer, kind: type[_Track], word: str) -> _Track:
    tracks = [stream for stream in container.streams if isinstance(stream, kind)]
    if not tracks:
        raise EchoesError(f"{path} has no {word} in it; use a file with a {word} track.")
    tracks = [stream for stream in tracks if Disposition.attached_pic not in stream.disposition] or tracks
    known = [stream for stream in tracks if stream.codec_context is not None]
    if not known:
        raise EchoesError(_unknown(path, word))
    if len(tracks) == 1:
        return tracks[0]
    best = container.streams.best("audio" if kind is AudioStream else "video")
    ranked = sorted(
        known, key=lambda stream: (Disposition.default not in stream.disposition, stream is not best, stream.index)
    )
    used = next((stream for stream in ranked if _can_be_decoded(file, stream.index)), ranked[0])
    note(f"{path} has {len(tracks)} {word} tracks; number {tracks.index(used) + 1} is used.")
    return used


def _unknown(path: StrPath, word: str) -> str:
    return f"{path} has {word} of a codec that cannot be decoded here; convert it to a common one."


def _can_be_decoded(file: BinaryIO, index: int) -> bool:
    """Whether a track yields a frame soon. It is tried in a container of its own, and `file` left where it was."""
    place = file.tell()
    try:
        file.seek(0)
        with open_container(file) as container:
            track = container.streams[index]
            if track.start_time is not None:
                container.seek(track.start_time, stream=track)
            packets = islice(packets_of(container), _PROBED)
            return any(frames_in(packet) for packet in packets if packet.stream_index == index)
    except av.FFmpegError:
        return False
    finally:
        file.seek(place)


def _end(
    path: StrPath, file: BinaryIO, container: InputContainer, track: Stream | None, ends: dict[int, float]
) -> float | None:
    """When a track ends, its promise compared."""
    if track is None:
        return None
    promised = promised_end(file, container, track)
    check_length(path, max(ends.values()) if is_matroska(container) else ends[track.index], promised)
    if promised and container.format.name == "ogg":
        return min(ends[track.index], promised)  # its last page says how many samples of its last packet count
    return ends[track.index]


def _xing_seconds(file: BinaryIO) -> float:
    """Seconds in the counted frames, 0 without a count; `file` is left where it was."""
    place = file.tell()
    try:
        file.seek(_after_id3(file))
        return _xing_count(file.read(_XING_SEARCHED))
    finally:
        file.seek(place)


def _after_id3(file: BinaryIO) -> int:
    """Where the sound begins: behind ID3v2 tags, whose size is written in seven bits a byte."""
    start = 0
    while True:
        file.seek(start)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            return start
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        start += 10 + size


def _xing_count(content: bytes) -> float:
    for mark in (b"Xing", b"Info"):
        at = content.find(mark)
        for side in (32, 17, 9):  # bytes between the frame's header and the count, by version and channels
            header = content[at - side - 4 : at - side] if at >= side + 4 else b""
            if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:  # a frame of layer 3
                continue
            version, rate = header[1] >> 3 & 3, header[2] >> 2 & 3
            flags = int.from_bytes(content[at + 4 : at + 8])
            if version not in _MPEG_RATES or rate == 3 or not flags & _XING_COUNTS_FRAMES:
                continue
            frames = int.from_bytes(content[at + 8 : at + 12])
            return frames * (1152 if version == 3 else 576) / _MPEG_RATES[version][rate]
    return 0.0
