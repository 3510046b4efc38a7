"""MP4 files of images with their sound: H.264 and AAC, which players and browsers take everywhere."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from visual_echoes.files import StrPath, write_bytes
from visual_echoes.media.images import check_pixels
from visual_echoes.media.metadata import encode_comment
from visual_echoes.media.sounds import check_wave

_MIN_SIDE = 256  # pixels
FRAME_RATE = 25  # Hz
_ROUNDING = 1e-6  # of a frame: one that begins with a frame of the file must not begin with the next
SOUND_RATE = 48_000  # Hz, one that every AAC decoder takes
SOUND_BITS = 192_000  # a second; with libav's usual 128,000 plain tones are audibly rough
# In a third of the time of x264's own preset, as close to the image (37 dB, enlarged from 64 pixels) and no larger.
_X264 = {"preset": "veryfast", "tune": "stillimage", "crf": "20", "threads": "1"}


def write_mp4(
    path: StrPath, pixels: np.ndarray, wave: np.ndarray, sample_rate: int, metadata: Mapping[str, str]
) -> None:
    """Write uint8 pixels shown while the waveform (samples,), clipped to [-1, 1], plays.

    The pixels are a still image (H, W, 1 or 3), or frames (F, H, W, 1 or 3), each shown for an equal part of the time.
    They are enlarged by a whole factor, without smoothing, until the shorter side has 256 pixels and both sides
    are even. The metadata is stored as JSON in the container's comment. Without libx264 the video is MPEG-4 part 2.

    Raises:
        ValueError: pixels or waveform of the wrong shape or type, or values that are no finite numbers.
        EchoesError: the file cannot be written.
    """
    frames = pixels if pixels.ndim == 4 and len(pixels) else pixels[np.newaxis]
    for frame in frames:
        check_pixels(frame)
    check_wave(wave)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        container.metadata["comment"] = encode_comment(metadata)
        video = add_video(container)
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono")
        audio.bit_rate = SOUND_BITS
        set_size(video, *frames.shape[1:3])
        packets = [*video_packets(video, frames, len(wave) / sample_rate), *_sound(audio, wave, sample_rate)]
        container.mux(sorted(packets, key=decoding_time))
    write_bytes(path, buffer.getvalue())


def add_video(container: OutputContainer) -> VideoStream:
    """The track for images that are enlarged, at `FRAME_RATE`."""
    known = "libx264" in av.codecs_available
    video = container.add_stream("libx264" if known else "mpeg4", rate=FRAME_RATE, options=_X264 if known else None)
    assert isinstance(video, VideoStream)
    video.pix_fmt = "yuv420p"
    return video


def set_size(stream: VideoStream, height: int, width: int) -> None:
    """Give the track the size that images of so many pixels are enlarged to: by a whole factor, to even sides."""
    factor = math.ceil(_MIN_SIDE / min(height, width))
    if factor % 2 and (height % 2 or width % 2):
        factor += 1
    stream.height, stream.width = factor * height, factor * width


def enlarged(pixels: np.ndarray, stream: VideoStream) -> av.VideoFrame:
    """uint8 pixels (H, W, 1 or 3), each repeated, as a frame of a track whose size was set for them."""
    factor = stream.height // pixels.shape[0]
    rgb = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).repeat(factor, axis=0).repeat(factor, axis=1)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(format="yuv420p")
    frame.time_base = Fraction(1, FRAME_RATE)
    return frame


def video_packets(stream: VideoStream, frames_FHWC: np.ndarray, seconds: float) -> Iterator[Packet[Any]]:
    """Frames (F, H, W, 1 or 3), each shown for an equal part of the time, as packets of a track with their size."""
    shown = -1
    for index in range(math.ceil(seconds * FRAME_RATE)):
        number = min(int(index * len(frames_FHWC) / (seconds * FRAME_RATE) + _ROUNDING), len(frames_FHWC) - 1)
        # Enlarging takes the most time, so what is as the frame before is not enlarged again.
        if number != shown and (shown < 0 or not np.array_equal(frames_FHWC[number], frames_FHWC[shown])):
            frame = enlarged(frames_FHWC[number], stream)
        shown = number
        frame.pts = index
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _sound(stream: AudioStream, wave: np.ndarray, sample_rate: int) -> Iterator[Packet[Any]]:
    samples = np.clip(wave, -1, 1).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
    frame.sample_rate = sample_rate
    frame.time_base = Fraction(1, sample_rate)
    frame.pts = 0
    yield from stream.encode(frame)
    yield from stream.encode(None)


def decoding_time(packet: Packet[Any]) -> Fraction:
    """Seconds; the order in which a container stores its streams' packets."""
    return (packet.dts or 0) * packet.time_base
