"""Small synthetic sounds and videos for the tests of `visual_echoes.media`."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

FRAME_RATE = 10  # Hz


@pytest.fixture
def tone() -> Callable[..., np.ndarray]:
    """A function: a sine of amplitude 0.5, float32 (samples,)."""

    def make(frequency: float = 440.0, sample_rate: int = 16_000, seconds: float = 1.0) -> np.ndarray:
        times = np.arange(round(seconds * sample_rate)) / sample_rate
        return (0.5 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)

    return make


@pytest.fixture
def make_video(tmp_path: Path, tone: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """A function: a video in which frame i of n is grey at level 255 i / n.

    It has a 440 Hz tone if a codec for the sound is named. With `halves`, the left half of every frame is
    white and the right half black.
    """

    def make(
        name: str = "clip.mp4",
        frames: int = 20,
        codec: str = "libx264",
        sound: str | None = None,
        halves: bool = False,
        rotation: int = 0,
        size: tuple[int, int] = (64, 48),
        options: dict[str, str] | None = None,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", options=options or {}) as container:
            # B frames might follow: x265 then gives a lone frame no time of decoding, more often than not.
            alone = {"bf": "0"} if codec == "libx265" and frames == 1 else None
            video = container.add_stream(codec, rate=FRAME_RATE, options=alone)
            video.width, video.height = size
            video.pix_fmt = "yuv420p"
            video.gop_size = 6
            if rotation:
                video.set_display_rotation(rotation)
            audio = container.add_stream(sound, rate=48_000, layout="mono") if sound else None
            packets: list[av.Packet[Any]] = []
            for index in range(frames):
                pixels = np.full((size[1], size[0], 3), 255 * index // frames, np.uint8)
                if halves:
                    pixels[:, : size[0] // 2], pixels[:, size[0] // 2 :] = 255, 0
                frame = av.VideoFrame.from_ndarray(pixels)
                frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
                packets += video.encode(frame)
            packets += video.encode(None)
            if audio:
                wave = tone(sample_rate=48_000, seconds=frames / FRAME_RATE)
                heard = av.AudioFrame.from_ndarray(wave[np.newaxis], format="fltp", layout="mono")
                heard.sample_rate, heard.pts, heard.time_base = 48_000, 0, Fraction(1, 48_000)
                packets += [*audio.encode(heard), *audio.encode(None)]
            container.mux(packets)
        return path

    return make


@pytest.fixture
def make_sound(tmp_path: Path) -> Callable[..., Path]:
    """A function: a compressed mono sound file of the given waveform, encoded by libav."""

    def make(name: str, codec: str, wave: np.ndarray, sample_rate: int = 48_000) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", format="adts" if name.endswith(".aac") else None) as container:
            stream = container.add_stream(codec, rate=sample_rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(wave[np.newaxis], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = sample_rate, 0, Fraction(1, sample_rate)
            container.mux([*stream.encode(frame), *stream.encode(None)])
        return path

    return make
