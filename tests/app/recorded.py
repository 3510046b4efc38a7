"""Sounds as browsers record them (MediaRecorder): written to a stream, so that no header knows how long they are."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np

RATE = 48_000
SECONDS = 0.5
BLOCK = 960  # samples that are encoded at a time
FRAME = 5  # blocks that a frame of the image lasts


class _Stream(io.RawIOBase):
    """A file that cannot be gone back in."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.content += bytes(data)  # type: ignore[call-overload]
        return len(bytes(data))  # type: ignore[call-overload]


def recorded(container: str, codec: str, pitch: float, picture: str | None = None, **options: str) -> bytes:
    """A tone, with moving images beside it if `picture` names their codec."""
    stream = _Stream()
    with av.open(stream, "w", format=container, options=options) as output:
        sound = output.add_stream(codec, rate=RATE, layout="mono")
        video = None if picture is None else output.add_stream(picture, rate=10, width=64, height=48, pix_fmt="yuv420p")
        if picture == "libx264":
            video.codec_context.options = {"tune": "zerolatency"}  # type: ignore[union-attr]
        wave = 0.5 * np.sin(2 * np.pi * pitch * np.arange(round(SECONDS * RATE)) / RATE)
        for first in range(0, len(wave), BLOCK):
            samples = av.AudioFrame.from_ndarray(wave[None, first : first + BLOCK].astype(np.float32), "fltp", "mono")
            samples.sample_rate, samples.pts, samples.time_base = RATE, first, Fraction(1, RATE)
            output.mux(sound.encode(samples))
            if video is not None and first % (FRAME * BLOCK) == 0:
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), first * 200 // len(wave), np.uint8))
                frame.pts, frame.time_base = first // (FRAME * BLOCK), Fraction(FRAME * BLOCK, RATE)
                output.mux(video.encode(frame))
        for one in (sound, video):
            if one is not None:
                output.mux(one.encode(None))
    return bytes(stream.content)


_FRAGMENTS = "empty_moov+frag_keyframe+default_base_moof"
RECORDINGS = {
    "Chrome": recorded("webm", "libopus", 440, live="1"),
    "Chrome with a camera": recorded("webm", "libopus", 440, "libvpx", live="1"),
    "Firefox": recorded("ogg", "libopus", 440),
    "Safari": recorded("mp4", "aac", 440, movflags=_FRAGMENTS),
    "Safari with a camera": recorded("mp4", "aac", 440, "libx264", movflags=_FRAGMENTS),
}
