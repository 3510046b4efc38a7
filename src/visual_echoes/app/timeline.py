"""A video and its sound as one image: frames at even times above the spectrogram, which grows as the sound is made.

Shapes: N samples, M mel bands, T mel frames, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from visual_echoes.audio import long_mel, mel_edges, mel_to_hz
from visual_echoes.layout import Layout
from visual_echoes.media import read_frames
from visual_echoes.media.drawing import spectrogram

FRAMES = 10
WIDTH = 1000  # pixels of the time axis
LEFT, RIGHT = 62, 22  # pixels beside it
FRAME_SIZE = WIDTH // FRAMES - 2, 88  # a frame's at most; a pixel of ground is left on both sides
BANDS = 160  # height of the spectrogram
GAP, FOOT, TICK = 6, 24, 4  # between frames and spectrogram, below it, and of a tick
LETTERS = 13
LABELS = 12  # on the time axis at most

_GROUND, _INK = (28, 24, 38), (226, 222, 234)
_EMPTY = (58, 54, 70)  # what is not made yet; silence is darker
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60)  # seconds between labels
_PITCHES = (500, 1000, 2000, 4000, 8000)  # Hz


def small_frames(video: Path) -> list[Image.Image]:
    """Frames of a video that show at the centres of equal parts, small enough to lie side by side."""
    frames = read_frames(video, FRAMES)
    for frame in frames:
        frame.thumbnail(FRAME_SIZE)
    return frames


def draw_timeline(frames: Sequence[Image.Image], seconds: float, wave_N: np.ndarray, layout: Layout) -> np.ndarray:
    """The image, uint8 (H, W, 3).

    Args:
        frames: of `small_frames`.
        seconds: length of the video.
        wave_N: the sound as far as it is made, in [-1, 1] at the layout's rate.
    """
    top = max((frame.height for frame in frames), default=0) + 2 * GAP
    sheet = Image.new("RGB", (LEFT + WIDTH + RIGHT, top + BANDS + FOOT), _GROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(LETTERS)
    for number, frame in enumerate(frames):
        middle = LEFT + WIDTH * (2 * number + 1) // (2 * len(frames))
        sheet.paste(frame, (middle - frame.width // 2, (top - frame.height) // 2))
    draw.rectangle((LEFT, top, LEFT + WIDTH - 1, top + BANDS - 1), fill=_EMPTY)
    made = min(WIDTH, round(WIDTH * len(wave_N) / (seconds * layout.sample_rate)))
    if made:
        mel_MT = long_mel(torch.from_numpy(wave_N)[None], layout)[0].numpy()
        level = Image.fromarray(mel_MT).resize((made, BANDS), Image.Resampling.BOX)
        sheet.paste(Image.fromarray(spectrogram(np.asarray(level))), (LEFT, top))
    for pitch, height in _pitches(layout):
        y = top + BANDS - round(height * BANDS)
        draw.line((LEFT - TICK, y, LEFT - 1, y), _INK)
        draw.text((LEFT - TICK - 3, y), f"{pitch} Hz", _INK, font, anchor="rm")
    for second in _labels(seconds):
        x, foot = LEFT + min(WIDTH - 1, round(WIDTH * second / seconds)), top + BANDS
        draw.line((x, foot, x, foot + TICK), _INK)
        draw.text((x, foot + TICK + 2), f"{second:g} s", _INK, font, anchor="ma")
    return np.asarray(sheet)


def _pitches(layout: Layout) -> list[tuple[int, float]]:
    """Pitches to be named, in Hz, and how high each lies, as a share of the spectrogram's height."""
    edges = mel_to_hz(mel_edges(layout.n_mels, layout.fmin, layout.fmax)).numpy()
    inside = [pitch for pitch in _PITCHES if edges[1] <= pitch <= edges[-2]]
    # Band b, whose middle is at b + 1/2, is centred on point b + 1.
    places = np.interp(inside, edges, np.arange(len(edges)) - 0.5) / layout.n_mels
    return list(zip(inside, places.tolist(), strict=True))


def _labels(seconds: float) -> list[float]:
    """Times to be named, at round steps."""
    step = next((step for step in _STEPS if seconds / step <= LABELS), 60 * np.ceil(seconds / 60 / LABELS))
    return [number * step for number in range(int(seconds / step + 1e-6) + 1)]
