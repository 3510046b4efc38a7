"""The frames of a video on an axis of time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from visual_echoes.media import read_frames

FRAMES = 10
WIDTH = 1000  # pixels of the axis
FRAME_SIZE = WIDTH // FRAMES - 2, 88  # a frame's at most; a pixel of ground is left on both sides
_GROUND = (28, 24, 38)


def small_frames(video: Path) -> list[Image.Image]:
    """Frames of a video that show at the centres of equal parts, small enough to lie side by side."""
    frames = read_frames(video, FRAMES)
    for frame in frames:
        frame.thumbnail(FRAME_SIZE)
    return frames


def strip(frames: Sequence[Image.Image]) -> Image.Image:
    """Frames of `small_frames` side by side, each at its time."""
    height = max((frame.height for frame in frames), default=1)
    sheet = Image.new("RGB", (WIDTH, height), _GROUND)
    for number, frame in enumerate(frames):
        middle = WIDTH * (2 * number + 1) // (2 * len(frames))
        sheet.paste(frame, (middle - frame.width // 2, (height - frame.height) // 2))
    return sheet
