"""How long the picture and the sound of a file really last: counted over its packets, whatever its header says."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
from av.container import InputContainer
from av.stream import Stream

from visual_echoes.errors import EchoesError
from visual_echoes.files import StrPath
from visual_echoes.media.sounds import soundfile_seconds
from visual_echoes.media.sources import (
    MAX_VIDEO_BYTES,
    VIDEO_SUFFIXES,
    open_container,
    open_source,
    seconds_in_file,
)

_KIND = "a video or a sound"
_KEPT_OF_PROMISED = 0.9  # share of the promised length below which a file counts as cut short


class Tracks(NamedTuple):
    """When the tracks of a file end, in seconds after its start; None for one that it does not have."""

    picture: float | None
    sound: float | None


def read_tracks(path: StrPath) -> Tracks:
    """Pass over all packets of a video or a sound without decoding any; of some sounds the header is known to be true.

    Raises:
        EchoesError: the file cannot be read, is damaged, or is a video much shorter than its header promises.
    """
    with open_source(path, MAX_VIDEO_BYTES, _KIND) as file:
        seconds = soundfile_seconds(path, file)
        return _count(path, file) if seconds is None else Tracks(None, seconds)


def _count(path: StrPath, file: BinaryIO) -> Tracks:
    with open_container(file) as container:
        picture, sound = container.streams.best("video"), container.streams.best("audio")
        streams = [stream for stream in (picture, sound) if stream is not None]
        ends = _ends(container, streams)
        promised = (container.duration or 0) / av.time_base
        if Path(path).suffix.lower() in VIDEO_SUFFIXES and max(ends.values(), default=0) < promised * _KEPT_OF_PROMISED:
            raise EchoesError(f"{path} ends before the length its header promises; copy it again.")
        return Tracks(*(None if stream is None else ends[stream.index] for stream in (picture, sound)))


def _ends(container: InputContainer, streams: list[Stream]) -> dict[int, float]:
    """When the last packet of each stream ends, by the stream's index; 0 for a stream without packets."""
    ends = {stream.index: 0.0 for stream in streams}
    for packet in container.demux(streams) if streams else ():
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or packet.size == 0:
            continue
        end = seconds_in_file(container, packet.stream, time + (packet.duration or 0))
        ends[packet.stream_index] = max(ends[packet.stream_index], end)
    return ends
