"""MP4 files of a still image with its sound: H.264 and AAC, which players and browsers take everywhere."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream

from visual_echoes.files import StrPath, write_bytes
from visual_echoes.media.images import check_pixels
from visual_echoes.media.metadata import encode_comment
from visual_echoes.media.sounds import check_wave

MIN_SIDE = 256  # pixels
FRAME_RATE = 25  # Hz
SOUND_RATE = 48_000  # Hz, one that every AAC decoder takes
SOUND_BITS = 192_000  # a second; with libav's usual 128,000 plain tones are audibly rough


def write_mp4(
    path: StrPath, pixels: np.ndarray, wave: np.ndarray, sample_rate: int, metadata: Mapping[str, str]
) -> None:
    """Write uint8 pixels (H, W, 1 or 3) shown while the waveform (samples,), clipped to [-1, 1], plays.

    The image is enlarged by a whole factor, without smoothing, until its shorter side has 256 pixels and
    both sides are even. The metadata is stored as JSON in the container's comment. Without libx264 the video
    is MPEG-4 part 2.

    Raises:
        ValueError: pixels or waveform of the wrong shape or type, or values that are no finite numbers.
        EchoesError: the file cannot be written.
    """
    check_pixels(pixels)
    check_wave(wave)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        container.metadata["comment"] = encode_comment(metadata)
        image = _enlarged(pixels)
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        video = container.add_stream(codec, rate=FRAME_RATE)
        assert isinstance(video, VideoStream)
        video.height, video.width = image.shape[:2]
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono")
        audio.bit_rate = SOUND_BITS
        frames = math.ceil(len(wave) / sample_rate * FRAME_RATE)
        packets = [*_still(video, image, frames), *_sound(audio, wave, sample_rate)]
        container.mux(sorted(packets, key=decoding_time))
    write_bytes(path, buffer.getvalue())


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    """RGB pixels, each repeated as often as makes both sides even and the shorter one at least 256."""
    height, width = pixels.shape[:2]
    factor = math.ceil(MIN_SIDE / min(height, width))
    if factor % 2 and (height % 2 or width % 2):
        factor += 1
    rgb = np.broadcast_to(pixels, (height, width, 3))
    return np.ascontiguousarray(rgb.repeat(factor, axis=0).repeat(factor, axis=1))


def _still(stream: VideoStream, image: np.ndarray, frames: int) -> Iterator[Packet[Any]]:
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
    frame.time_base = Fraction(1, FRAME_RATE)
    for index in range(frames):
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
