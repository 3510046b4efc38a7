"""Small images and sounds by class, as the tests of class folders and scenes need them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

import tiny

RATE = tiny.LAYOUT.sample_rate


def write_image(path: Path, level: int) -> Path:
    """An image of one grey level; lossless whatever its name says, since readers go by content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((16, 16, 3), level, np.uint8)).save(path, "PNG")
    return path


def write_sound(path: Path, level: float, seconds: float = tiny.LAYOUT.seconds) -> Path:
    """A sound of one level, as a float WAV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(round(seconds * RATE), level, np.float32), RATE, format="WAV", subtype="FLOAT")
    return path
