"""Small videos, images and sounds for the tests of the preparation."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from visual_echoes.media import write_wav

FRAME_RATE = 10  # Hz
SAMPLE_RATE = 16_000  # Hz
SIZE = (64, 48)


def write_video(
    path: Path,
    seconds: float = 1.0,
    codec: str = "mpeg4",
    sound: str | None = "aac",
    level: float = 0.5,
    pitch: float = 440.0,
    still: bool = False,
    sound_seconds: float | None = None,
) -> Path:
    """A white bar that grows over a black image while a tone plays; different pitches make different files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        packets: list[av.Packet[Any]] = []
        video = container.add_stream(codec, rate=FRAME_RATE)
        video.width, video.height = SIZE
        video.pix_fmt = "yuv420p"
        audio = container.add_stream(sound, rate=SAMPLE_RATE, layout="mono") if sound else None
        count = round(seconds * FRAME_RATE)
        for index in range(count):
            pixels = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
            pixels[:, : 8 if still else 8 + 56 * index // count] = 255
            frame = av.VideoFrame.from_ndarray(pixels)
            frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
            packets += video.encode(frame)
        packets += video.encode(None)
        if audio is not None:
            wave = tone(seconds if sound_seconds is None else sound_seconds, level, pitch)
            block = av.AudioFrame.from_ndarray(wave[np.newaxis], format="fltp", layout="mono")
            block.sample_rate, block.pts = SAMPLE_RATE, 0
            packets += [*audio.encode(block), *audio.encode(None)]
        for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base):
            container.mux(packet)
    return path


def tone(seconds: float, level: float = 0.5, pitch: float = 440.0) -> np.ndarray:
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * pitch * times)).astype(np.float32)


def write_pair(path: Path, seconds: float = 1.0, level: float = 0.5, seed: int = 0) -> None:
    """An image of noise and a tone, beside each other: `path` with .png and with .wav."""
    write_image(path.with_suffix(".png"), seed)
    write_sound(path.with_suffix(".wav"), seconds, level, seed)


def write_image(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def write_sound(path: Path, seconds: float = 1.0, level: float = 0.5, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, tone(seconds, level, 300.0 + 10 * seed), SAMPLE_RATE, {})
    return path
