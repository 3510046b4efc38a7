"""Folders of small images and sounds, and a backbone that sees what is in them without a network."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from visual_echoes.layout import Modality
from visual_echoes.media import read_audio, read_image, write_wav
from visual_echoes.media.remux import write_with_sound
from visual_echoes.metrics.networks import synchformer
from visual_echoes.metrics.networks.base import Backbone, Look

RATE = 8000
SAMPLES = 4000


def write_sounds(folder: Path, count: int, seed: int = 0, suffix: str = ".wav", samples: int = SAMPLES) -> Path:
    """Tones of random pitch with some noise, called 000, 001, ..."""
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed)
    for index in range(count):
        pitch = noise.uniform(200, 2000)
        wave = 0.4 * np.sin(2 * np.pi * pitch * np.arange(samples) / RATE) + 0.02 * noise.standard_normal(samples)
        soundfile.write(folder / f"{index:03}{suffix}", wave, RATE)
    return folder


def write_images(folder: Path, count: int, seed: int = 0, side: int = 32) -> Path:
    """Noise over a random colour."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed)
    for index in range(count):
        pixels = noise.integers(0, 60, (side, side, 3)) + noise.integers(0, 190, 3)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index:03}.png")
    return folder


class Blocks(Backbone):
    """Features are the means of four parts of an item; the loudest or brightest part is its class."""

    labels = ("first", "second", "third", "fourth")
    sha256, pin, preprocessing, title = "0" * 64, "of a test", "as it is", "blocks"
    frechet, kernel = "Fréchet distance (blocks)", "kernel distance (blocks)"

    def __init__(self, modality: Modality = "audio", name: str = "blocks") -> None:
        self.modality, self.name = modality, name
        self.shown = 0

    def read(self, path: Path) -> np.ndarray:
        if self.modality == "audio":
            return np.abs(read_audio(path, RATE))
        return np.asarray(read_image(path).convert("L"), np.float32).ravel() / 255

    def look(self, items: Sequence[Any] | Tensor) -> list[Look]:
        self.shown += len(items)
        parts = [torch.tensor([part.mean() for part in np.array_split(item, 4)]).float() for item in items]
        return [Look(part[None], 10 * part) for part in parts]


def write_silence(path: Path) -> None:
    write_wav(path, np.zeros(SAMPLES), RATE, {})


def write_nan(path: Path) -> None:
    import soundfile

    wave = np.zeros(SAMPLES, np.float32)
    wave[7] = np.nan
    soundfile.write(path, wave, RATE, subtype="FLOAT")


def small_synchformer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a Synchformer too small to be any good, which takes everything to be in time."""
    for name, value in {"WIDTH": 24, "LAYERS": 1, "JUDGE_LAYERS": 1}.items():
        monkeypatch.setattr(synchformer, name, value)
    tensors = synchformer.Synchformer().state_dict()
    tensors["judge.off_head.weight"].zero_()
    tensors["judge.off_head.bias"][:] = torch.eye(synchformer.OFFSETS)[synchformer.OFFSETS // 2]
    torch.save(tensors, folder / "weights.pth")
    return folder / "weights.pth"


def write_video(path: Path, seconds: float, rate: int = 25) -> Path:
    """Every frame as grey as it is late, and a tone that grows with it."""
    path.parent.mkdir(exist_ok=True)
    silent = path.with_name(f"{path.stem} silent.mp4")
    with av.open(str(silent), "w") as container:
        video = container.add_stream("libx264", rate=rate)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for number in range(round(seconds * rate)):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), round(25 * number / rate), np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    times = np.arange(round(seconds * RATE), dtype=np.float32) / RATE
    write_with_sound(path, silent, [0.1 * times * np.sin(2000 * times)], RATE, {})
    silent.unlink()
    return path
