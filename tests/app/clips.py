"""Videos to give a sound."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np

RATE = 48_000  # Hz of their own sound


def clip(
    frames: int = 25,
    rate: int = 10,
    container: str = "mp4",
    codec: str = "libx264",
    pitch: float | None = None,
    size: tuple[int, int] = (64, 48),
) -> bytes:
    """A video from black to grey, with a tone of its own if a pitch is named."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        video = output.add_stream(codec, rate=rate, width=size[0], height=size[1], pix_fmt="yuv420p")
        sound = None if pitch is None else output.add_stream("aac", rate=RATE, layout="mono")
        packets: list[av.Packet[Any]] = []
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 5 * number % 256, np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, rate)
            packets += video.encode(frame)
        packets += video.encode(None)
        if sound is not None and pitch is not None:
            times = np.arange(frames * RATE // rate) / RATE
            wave = (0.5 * np.sin(2 * np.pi * pitch * times)).astype(np.float32)
            heard = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
            heard.sample_rate, heard.pts, heard.time_base = RATE, 0, Fraction(1, RATE)
            packets += [*sound.encode(heard), *sound.encode(None)]
        output.mux(packets)
    return buffer.getvalue()


def packets_of(content: bytes) -> list[bytes]:
    """The packets of a file's video track."""
    with av.open(io.BytesIO(content)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.video[0]) if packet.size]
